/* rules/kubernetes.yaml as bytes of the program; RULES_FILE is its path, from the build. */

/* In assembly, because C cannot include bytes; declared where they are read, in rules.c. */
__asm__(".section .rodata\n"
        ".global rules_kubernetes_yaml\n"
        ".global rules_kubernetes_yaml_end\n"
        "rules_kubernetes_yaml:\n"
        ".incbin \"" RULES_FILE "\"\n"
        "rules_kubernetes_yaml_end:\n"
        ".byte 0\n"
        ".previous\n");
