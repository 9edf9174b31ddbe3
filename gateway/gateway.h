/* `gleaner gateway`: the only way from a mover to a store. */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

/* Runs until SIGTERM or SIGINT. argv[0] is the mode's name.
 *   --tls-cert FILE  --tls-key FILE   PEM (required)
 *   --controller USER                 system:serviceaccount:NS:NAME that registers movers
 * (required)
 *   --local-root DIR                  where repositories lie (default /var/lib/gleaner/store)
 *   --listen [ADDR:]PORT              default :8443, all of IPv6 and IPv4 (gateway/listen.h)
 *   --audience WORD                   default gleaner-gateway
 *   --health [ADDR:]PORT              plain HTTP /healthz and /readyz (default: none)
 *   --budget BYTES                    for a mover that is registered without one (default 1 TiB)
 *   --spool DIR                       uploads lie there, nameless, until they are whole (default:
 *                                     the local root)
 * Its account may create TokenReviews and nothing else. Exit code: 0, 1 (failed), 2 (arguments). */
int gateway_main(int argc, char **argv);

#endif
