#!/usr/bin/env bash
# The plan: what is what in two real applications, and why
. "$(dirname "$0")/checks.sh"
must "shop runs under Flux" setup_app shop
must "blog runs under Argo CD" setup_app blog

row() { # PLAN KIND NAME FIELD
    jq -r --arg k "$2" --arg n "$3" --arg f "$4" '.objects[] | select(.kind == $k and .name == $n) | .[$f] | tostring' <<<"$1"
}
is() { same "$5" "$(row "$1" "$2" "$3" "$4")"; }

shop=$(gleaner plan helmrelease/shop -n shop -o json)
check "shop: the plan is JSON with the promised members" jq -e '.target and .declared.engine and .declared.source and .declared.revision
    and (.declared.reachable | IN("true", true)) and (.objects | length > 5) and .summary
    and (.objects | all(has("group") and has("version") and has("kind") and has("name") and has("uid") and has("class") and has("rule") and has("reason") and has("keep") and has("fields")))' <<<"$shop"
check "shop: the StatefulSet is declared and not kept" is "$shop" StatefulSet shop keep none
check "shop: the Service is declared and not kept" is "$shop" Service shop keep none
check "shop: the ConfigMap is declared and not kept" is "$shop" ConfigMap shop-config keep none
check "shop: the chart's Secret is kept whole" is "$shop" Secret shop-database keep object
check "shop: the hand-made Secret is kept whole" is "$shop" Secret shop-courier keep object
check "shop: of the Secret that Git declares one key is kept" is "$shop" Secret shop-payment keep fields
check "shop: and it is the added one" contains "$(row "$shop" Secret shop-payment fields)" token
check "shop: but not the declared one" not contains "$(row "$shop" Secret shop-payment fields)" account
check "shop: the finished Job is kept" is "$shop" Job shop-import keep object
check "shop: the claim is data" is "$shop" PersistentVolumeClaim data-shop-0 class data
check "shop: pods are not kept" is "$shop" Pod shop-0 keep none
check "shop: each reason is a sentence" jq -e '.objects | all(.reason | length > 10)' <<<"$shop"
check "shop: no value of a Secret is in the plan" not grep -qE 'courier-key-made-by-hand|payment-token-filled-in' <<<"$shop"

blog=$(gleaner plan application/blog -n argocd -o json)
check "blog: Git holds it" jq -e '.declared.reachable | IN("true", true)' <<<"$blog"
check "blog: the Deployment is declared and not kept" is "$blog" Deployment blog keep none
check "blog: the hand-made Secret is kept whole" is "$blog" Secret blog-mail keep object
check "blog: the added key is kept" contains "$(row "$blog" Secret blog-admin fields)" password
check "blog: the finished Job is kept" is "$blog" Job blog-import keep object
check "blog: the claim is data" is "$blog" PersistentVolumeClaim blog-posts class data
check "the text form names the kept Secret" contains "$(gleaner plan helmrelease/shop -n shop)" shop-courier
check "planning writes nothing" clean_hands shop blog
end
