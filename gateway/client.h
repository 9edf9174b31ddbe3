/* The two clients of the gateway: the controller, which registers movers, and the mover, which asks
 * for its repository's password. Over libcurl; blocking; one client is used by one thread at a
 * time.
 *
 * The protocol is in gateway/server.h. Errors: UNAVAILABLE (no answer, 5xx), BUSY (429),
 * UNAUTHORIZED (401: the token is not valid), FORBIDDEN (403: it is valid, but not for this),
 * INVALID (400), NOT_FOUND. Passwords never enter a message. */
#ifndef GATEWAY_CLIENT_H
#define GATEWAY_CLIENT_H

#include "core/err.h"
#include "core/str.h"
#include "store/backend_s3.h"

/* The audience of every token that the gateway accepts. */
#define GATEWAY_AUDIENCE "gleaner-gateway"

/* A registration is forgotten after this long unless it is renewed. The gateway keeps registrations
 * in memory alone: whoever waits for a mover renews it every GATEWAY_RENEW_SECONDS, and so survives
 * a restart of the gateway (the mover repeats what fails in between for a minute). */
enum { GATEWAY_REGISTRATION_SECONDS = 3600, GATEWAY_RENEW_SECONDS = 15 };

struct gateway_client;

/* url: "https://host:port" (a last '/' is allowed). ca_pem: the only certificates that are trusted,
 * PEM text (copied). token_file: a projected service-account token of the audience
 * GATEWAY_AUDIENCE; read again for each request. ERR_INVALID: the URL is not https. */
int gateway_client_new(const char *url, const char *ca_pem, const char *token_file,
                       struct gateway_client **ret_client, struct err *err) must_check;
void gateway_client_free(struct gateway_client *c);
DEFINE_CLEANUP(struct gateway_client *, gateway_client_free)

/* What one mover pod may reach. */
struct gateway_mover {
    const char *pod_uid;
    const char *store; /* its folder below the gateway's local root; NULL, "": the root */
    /* Not NULL: the store lies there instead; prefix is the store's, without the repository. Of the
     * rest, times and limits are the gateway's own. */
    const struct backend_s3_options *s3;
    const char *repository;  /* "<clusterName>/<namespace>", as layout_repository makes it */
    const char *password;    /* of the namespace's own key */
    const char *const *keys; /* ids (hex) of the key files that it opens; ended by NULL */
    /* What the gateway answers itself instead of asking the store: the text of keys[0], which need
     * not be in any store; NULL: none. The repository's config, as it is stored; n 0: none. */
    const char *key_text;
    str config;
    bool write;       /* may add packs and indexes: a backup */
    const char *lock; /* with write: the name of the lock that must be there (lock_name) */
    uint64_t budget;  /* bytes up and down; 0: the gateway's default */
};

/* Registers a mover or renews it (its budget goes on counting). Call it when the pod's uid is known
 * and again at each look at the pod. */
int gateway_register(struct gateway_client *c, const struct gateway_mover *mover, struct err *err)
    must_check;

/* Takes it back; one that is not there is success. */
int gateway_unregister(struct gateway_client *c, const char *pod_uid, struct err *err) must_check;

/* For the mover: its repository's password, malloc'd; wipe it before free. One try. */
int gateway_fetch_password(struct gateway_client *c, char **ret_password, struct err *err)
    must_check;

#endif
