/* Models by name: what there is, and, for the administration, what is to be loaded or not. Handlers for the table in
 * server/api_native.c. */
#ifndef MLPD_SERVER_API_MODELS_H
#define MLPD_SERVER_API_MODELS_H

#include "server/http.h"

/* GET /models, and /model or one of /models/{name}. */
enum http_progress models_decode(struct http_request *request);
enum http_progress model_decode(struct http_request *request);
extern const char *const model_parameters[];

/* POST /models/{name}/load and /unload: answered when that has been done. */
enum http_progress load_decode(struct http_request *request);
enum http_progress unload_decode(struct http_request *request);
void model_task_start(struct http_request *request);
void model_task_encode(struct http_request *request);

#endif
