/* What GET /model says of a model, as JSON and as the tutorial's text. Stateless; any thread may call it. */
#ifndef MLPD_SERVER_DESCRIBE_H
#define MLPD_SERVER_DESCRIBE_H

#include "engine/backend.h"
#include "server/buffer.h"

/* {"name","version","device","kernels","structure","layers":[...],"parameters":[...],"parameter_count","task",
 * "labels","input"}, with a newline at its end; behind the task of a binary or multilabel model stands its "threshold". */
void describe_json(const struct backend *backend, struct buffer *out);

/* "Using cpu device", then print(model), then the loop over named_parameters(), as the tutorial's script prints them. */
void describe_text(const struct backend *backend, struct buffer *out);

#endif
