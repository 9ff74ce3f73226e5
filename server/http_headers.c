/* The headers of a request: which route it takes, its parameters, the length of its body. All that can be refused before
 * the body has come is refused here. */
#include <microhttpd.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/http_exchange.h"

static const char *header(struct MHD_Connection *connection, const char *name)
{
    const char *value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
    return value ? value : "";
}

/* The method as a bit, 0 for one that no route takes. */
static unsigned method_bit(const char *method)
{
    if (strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0)
        return HTTP_GET;
    if (strcmp(method, MHD_HTTP_METHOD_POST) == 0)
        return HTTP_POST;
    return strcmp(method, MHD_HTTP_METHOD_PUT) == 0 ? HTTP_PUT : 0;
}

static void find_route(struct exchange *exchange, const struct http_route *routes, const char *method)
{
    struct error err;
    const struct http_route *route = routes;
    while (route->path && strcmp(route->path, exchange->request.path) != 0)
        route++;
    if (!route->path) {
        error_set(&err, STATUS_NOT_FOUND, "there is nothing at %.200s", exchange->request.path);
        error_hint(&err, "GET / lists the endpoints, with a line for each that can be pasted");
        exchange_refuse(exchange, &err);
        return;
    }
    unsigned bit = method_bit(method);
    if (!(route->methods & bit)) {
        exchange->request.reply.allow = route->methods & HTTP_GET ? "GET, HEAD" : "POST, PUT";
        error_set(&err, STATUS_INVALID, "%s takes %s, not %.32s", route->path, exchange->request.reply.allow,
                  method);
        error_hint(&err, "send it with one of these methods; GET / lists the endpoints");
        exchange_refuse_code(exchange, MHD_HTTP_METHOD_NOT_ALLOWED, &err);
        return;
    }
    exchange->request.method = bit;
    exchange->route = route;
}

static enum MHD_Result add_parameter(void *argument, enum MHD_ValueKind kind, const char *key, const char *value)
{
    (void)kind;
    struct http_request *request = argument;
    if (request->query_count < HTTP_QUERY_MAX)
        request->query[request->query_count++] = (struct http_parameter){key, value ? value : ""};
    return MHD_YES;
}

static bool route_knows(const struct http_route *route, const char *key)
{
    for (const char *const *known = route->parameters; known && *known; known++)
        if (strcmp(*known, key) == 0)
            return true;
    return false;
}

static void refuse_parameter(struct exchange *exchange, const char *fault, const char *key)
{
    char known[256] = "";
    for (const char *const *name = exchange->route->parameters; name && *name; name++) {
        strncat(known, *known ? ", " : "", sizeof known - strlen(known) - 1);
        strncat(known, *name, sizeof known - strlen(known) - 1);
    }
    struct error err;
    error_set(&err, STATUS_INVALID, "%s query parameter \"%.64s\"", fault, key);
    error_hint(&err, *known ? "%s knows: %s" : "%s takes no query parameters%s", exchange->route->path, known);
    exchange_refuse(exchange, &err);
}

static void check_parameters(struct exchange *exchange)
{
    struct http_request *request = &exchange->request;
    if (MHD_get_connection_values(exchange->connection, MHD_GET_ARGUMENT_KIND, add_parameter, request) >
        HTTP_QUERY_MAX) {
        refuse_parameter(exchange, "too many parameters: unexpected", request->query[HTTP_QUERY_MAX - 1].key);
        return;
    }
    for (size_t i = 0; i < request->query_count && !exchange->refused; i++) {
        const char *key = request->query[i].key;
        if (!route_knows(exchange->route, key))
            refuse_parameter(exchange, "unknown", key);
        else if (http_request_parameter(request, key) != request->query[i].value)
            refuse_parameter(exchange, "repeated", key);
    }
}

static void check_encoding(struct exchange *exchange)
{
    const char *encoding = header(exchange->connection, MHD_HTTP_HEADER_CONTENT_ENCODING);
    if (!*encoding || strcasecmp(encoding, "identity") == 0)
        return;
    struct error err;
    error_set(&err, STATUS_UNSUPPORTED, "Content-Encoding \"%.64s\" is not understood here", encoding);
    error_hint(&err, "send the body as it is, without Content-Encoding or with identity");
    exchange_refuse(exchange, &err);
}

size_t exchange_declared_length(const struct exchange *exchange)
{
    if (*header(exchange->connection, MHD_HTTP_HEADER_TRANSFER_ENCODING))
        return SIZE_MAX;
    /* libmicrohttpd has checked that it is a number. */
    unsigned long long len = strtoull(header(exchange->connection, MHD_HTTP_HEADER_CONTENT_LENGTH), NULL, 10);
    return len < SIZE_MAX ? (size_t)len : SIZE_MAX - 1;
}

bool exchange_expects_continue(const struct exchange *exchange)
{
    return strcasecmp(header(exchange->connection, MHD_HTTP_HEADER_EXPECT), "100-continue") == 0;
}

/* Whether a header is of this name, blanks behind it aside. */
static bool is_named(const char *key, const char *name)
{
    size_t len = strlen(name);
    return strncasecmp(key, name, len) == 0 && !key[len + strspn(key + len, " \t")];
}

static enum MHD_Result count_framing(void *argument, enum MHD_ValueKind kind, const char *key, const char *value)
{
    (void)kind, (void)value;
    size_t *count = argument;
    *count += is_named(key, MHD_HTTP_HEADER_CONTENT_LENGTH) || is_named(key, MHD_HTTP_HEADER_TRANSFER_ENCODING);
    return MHD_YES;
}

/* A proxy may see the body end elsewhere when its length is said twice, or in a way that libmicrohttpd passes over (an
 * unknown coding, a blank before the colon). One of the two would then take the body's tail for somebody's request. */
static void check_framing(struct exchange *exchange)
{
    const char *coding = header(exchange->connection, MHD_HTTP_HEADER_TRANSFER_ENCODING);
    const char *len = header(exchange->connection, MHD_HTTP_HEADER_CONTENT_LENGTH);
    size_t count = 0;
    MHD_get_connection_values(exchange->connection, MHD_HEADER_KIND, count_framing, &count);
    bool unknown = count == 1 && *coding && strcasecmp(coding, "chunked") != 0;
    if (count == 0 || (count == 1 && (*len || *coding) && !unknown))
        return;
    struct error err;
    exchange->out_of_step = true;
    if (unknown)
        error_set(&err, STATUS_INVALID, "Transfer-Encoding \"%.64s\" is not understood here", coding);
    else
        error_set(&err, STATUS_INVALID, "the request says not once and plainly how long its body is");
    error_hint(&err, "send either one Content-Length, or Transfer-Encoding: chunked");
    exchange_refuse_code(exchange, unknown ? MHD_HTTP_NOT_IMPLEMENTED : MHD_HTTP_BAD_REQUEST, &err);
}

static void check_length(struct exchange *exchange, size_t body_bytes_max)
{
    if (!(exchange->request.method & (HTTP_POST | HTTP_PUT)))
        return;
    size_t len = exchange_declared_length(exchange);
    if (len != SIZE_MAX && !*header(exchange->connection, MHD_HTTP_HEADER_CONTENT_LENGTH)) {
        struct error err;
        error_set(&err, STATUS_INVALID, "the request says nothing of its body's length");
        error_hint(&err,
                   "send a Content-Length, or Transfer-Encoding: chunked; with curl: --data-binary @boot.png");
        exchange_refuse_code(exchange, MHD_HTTP_LENGTH_REQUIRED, &err);
    } else if (len != SIZE_MAX && len > body_bytes_max) {
        exchange_refuse_too_large(exchange, body_bytes_max);
    } else if (len != SIZE_MAX && !buffer_reserve(&exchange->request.body, len)) {
        struct error err;
        error_set(&err, STATUS_NO_MEMORY, "there is no memory for a body of %zu bytes", len);
        error_hint(&err, "send it again in a moment");
        exchange_refuse(exchange, &err);
    }
}

/* RFC 9112, section 3.2.2: a server takes the absolute form of a target, "http://host/path", too. */
static const char *path_of_target(const char *target)
{
    bool absolute = strncasecmp(target, "http://", 7) == 0 || strncasecmp(target, "https://", 8) == 0;
    if (!absolute)
        return target;
    const char *path = strchr(strchr(target, ':') + 3, '/');
    return path ? path : "/";
}

void exchange_read_headers(struct exchange *exchange, const struct http_route *routes, size_t body_bytes_max,
                           const char *path, const char *method)
{
    struct http_request *request = &exchange->request;
    request->path = path_of_target(path);
    request->content_type = header(exchange->connection, MHD_HTTP_HEADER_CONTENT_TYPE);
    request->accept = header(exchange->connection, MHD_HTTP_HEADER_ACCEPT);
    request->host = header(exchange->connection, MHD_HTTP_HEADER_HOST);
    check_framing(exchange);
    if (!exchange->refused)
        find_route(exchange, routes, method);
    if (!exchange->refused)
        check_parameters(exchange);
    if (!exchange->refused)
        check_encoding(exchange);
    if (!exchange->refused)
        check_length(exchange, body_bytes_max);
}
