/* mlpd's own dialect of HTTP: /predict, /model, what operators ask (server/api_operations.h), and / which lists them. Handlers for server/http.h, whose
 * context is a struct app. */
#ifndef MLPD_SERVER_API_NATIVE_H
#define MLPD_SERVER_API_NATIVE_H

#include "server/app.h"
#include "server/http.h"

extern const struct http_route api_native_routes[];

struct http_handlers api_native_handlers(struct app *app);

/* For struct batcher_options: sets gone[i] where the client that sent jobs[i] has gone. The context is not used. */
void api_native_mark_gone(void *context, struct job *const *jobs, size_t count, bool *gone);

#endif
