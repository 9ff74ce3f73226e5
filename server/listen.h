/* Listening sockets: TCP, and Unix. Stateless; any thread may call it. */
#ifndef MLPD_SERVER_LISTEN_H
#define MLPD_SERVER_LISTEN_H

#include "engine/status.h"

enum { LISTEN_URL_MAX = 128 };

/* Binds and listens, non-blocking and close-on-exec. host: a name or an address, IPv4 or IPv6; port 0: the system picks; or
 * "unix:/path", where a socket that nobody listens at any more is replaced. *ret_fd is the caller's to close; ret_url becomes
 * "http://127.0.0.1:8080", with the port that was really taken, or "unix:/path". */
enum status listen_open(const char *host, unsigned port, int *ret_fd, char ret_url[LISTEN_URL_MAX],
                        struct error *err);

/* The path of a Unix socket's address, to be unlinked at the end; NULL for other addresses. */
const char *listen_unix_path(const char *host);

#endif
