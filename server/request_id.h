/* Request ids: what finds one request in the client's log, the proxy's and ours. Any thread may call it.
 *
 *     char id[REQUEST_ID_MAX + 1];
 *     request_id_choose(x_request_id, id);      // the client's own, or a new one
 *
 * A new id is 32 hex digits, 128 bits in the form of a W3C trace id, which tracing tools take as it is. It is not a UUIDv7:
 * that would cost a clock reading, tell each client the server's clock and its order among others, and have 74 bits
 * for what must be unique instead of 128. Ids are unique across threads, processes and machines, and no secret.
 */
#ifndef MLPD_SERVER_REQUEST_ID_H
#define MLPD_SERVER_REQUEST_ID_H

#include <stdbool.h>
#include <stddef.h>

enum { REQUEST_ID_MAX = 128, REQUEST_ID_NEW_LEN = 32 };

/* Whether a client's id is taken over: 1 to REQUEST_ID_MAX visible ASCII characters (0x21 to 0x7E). NULL is none. */
bool request_id_is_valid(const char *text);

/* Copies the client's id if it is valid, else writes a new one. Returns its length. `sent` may be NULL. */
size_t request_id_choose(const char *sent, char ret_id[REQUEST_ID_MAX + 1]);

/* Writes a new id. No lock, and no system call but for a thread's first. A child that was forked repeats its parent's. */
void request_id_new(char ret_id[REQUEST_ID_NEW_LEN + 1]);

#endif
