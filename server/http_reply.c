/* The parts of http.h that need no library: replies and parameters. */
#include <string.h>

#include "server/http.h"

static unsigned code_of_status(enum status status)
{
    switch (status) {
    case STATUS_OK: return 200;
    case STATUS_INVALID: return 400;
    case STATUS_NOT_FOUND: return 404;
    case STATUS_TOO_LARGE: return 413;
    case STATUS_UNSUPPORTED: return 415;
    case STATUS_OVERLOADED:
    case STATUS_NO_MEMORY: return 503;
    case STATUS_EXPIRED: return 504;
    case STATUS_CANCELLED: return HTTP_CLIENT_LEFT;
    case STATUS_IO:
    case STATUS_INTERNAL: break;
    }
    return 500;
}

void http_reply_error_code(struct http_request *request, unsigned code, const struct error *err)
{
    struct http_reply *reply = &request->reply;
    const char *hint = err->hint;
    if (!*hint)
        hint = code < 500 ? "GET / lists the endpoints, with a line for each that can be pasted"
                          : "send it again in a moment; the server's log may say more";
    reply->code = code;
    reply->content_type = "application/json";
    reply->retry_after_s = code == 503 ? 1 : 0;
    reply->shared_body = NULL;
    buffer_reset(&reply->body, SIZE_MAX);
    buffer_append_str(&reply->body, "{\"error\":");
    buffer_append_json_string(&reply->body, err->message);
    buffer_append_str(&reply->body, ",\"hint\":");
    buffer_append_json_string(&reply->body, hint);
    buffer_append_str(&reply->body, "}\n");
}

void http_reply_error(struct http_request *request, const struct error *err)
{
    http_reply_error_code(request, code_of_status(err->status), err);
}

bool http_path_matches(const char *pattern, const char *path, struct http_capture *captures)
{
    while (*pattern) {
        if (*pattern != '{') {
            if (*pattern++ != *path++)
                return false;
            continue;
        }
        size_t len = strcspn(path, "/");
        if (!len)
            return false;
        *captures++ = (struct http_capture){path, len};
        path += len;
        pattern += strcspn(pattern, "}") + 1;
    }
    return !*path;
}

const char *http_request_parameter(const struct http_request *request, const char *key)
{
    for (size_t i = 0; i < request->query_count; i++)
        if (strcmp(request->query[i].key, key) == 0)
            return request->query[i].value;
    return NULL;
}
