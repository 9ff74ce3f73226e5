/* Listening TCP sockets. Stateless; any thread may call it. */
#ifndef MLPD_SERVER_LISTEN_H
#define MLPD_SERVER_LISTEN_H

#include "engine/status.h"

enum { LISTEN_URL_MAX = 80 };

/* Binds and listens, non-blocking and close-on-exec. host: a name or an address, IPv4 or IPv6; port 0: the system picks.
 * *ret_fd is the caller's to close; ret_url becomes "http://127.0.0.1:8080", with the port that was really taken. */
enum status listen_tcp(const char *host, unsigned port, int *ret_fd, char ret_url[LISTEN_URL_MAX],
                       struct error *err);

#endif
