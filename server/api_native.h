/* The daemon's own interface: /predict, /model, /healthz, /readyz and the page at /. Its
 * handlers are called as server/http.h says. */
#ifndef MLPD_SERVER_API_NATIVE_H
#define MLPD_SERVER_API_NATIVE_H

#include "server/http.h"

/* Ends with an entry whose path is NULL. The context of http_server_start is a struct app. */
extern const struct http_route api_native_routes[];

/* For struct http_options: what api_native keeps for each request. */
void *api_native_state_create(void *app);
void api_native_state_reset(void *state);
void api_native_state_free(void *state);

#endif
