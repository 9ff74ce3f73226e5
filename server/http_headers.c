/* The headers of a request: which route it takes, its parameters, the length of its body. All that can be refused before
 * the body has come is refused here. */
#include <microhttpd.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/http_server.h"

enum { BODY_BYTES_FIRST = 64 * 1024 }; /* room that is made before a byte has come */

/* What is read of the headers, in one pass over them; NULL where there is none. */
struct headers {
    const char *content_type, *accept, *host, *coding, *len, *encoding, *expect, *request_id, *user_agent;
};

#define KNOWN(name, field)                                      \
    {                                                           \
        name, sizeof(name) - 1, offsetof(struct headers, field) \
    }

static const struct {
    const char *name;
    size_t len;
    size_t offset; /* of the field in struct headers */
} known_headers[] = {
    KNOWN(MHD_HTTP_HEADER_CONTENT_TYPE, content_type),
    KNOWN(MHD_HTTP_HEADER_ACCEPT, accept),
    KNOWN(MHD_HTTP_HEADER_HOST, host),
    KNOWN(MHD_HTTP_HEADER_TRANSFER_ENCODING, coding),
    KNOWN(MHD_HTTP_HEADER_CONTENT_LENGTH, len),
    KNOWN(MHD_HTTP_HEADER_CONTENT_ENCODING, encoding),
    KNOWN(MHD_HTTP_HEADER_EXPECT, expect),
    KNOWN(MHD_HTTP_HEADER_USER_AGENT, user_agent),
    KNOWN("x-request-id", request_id),
};

/* The first header of a name counts. */
static enum MHD_Result note_header(void *argument, enum MHD_ValueKind kind, const char *key, const char *value)
{
    (void)kind;
    size_t len = strlen(key);
    for (size_t i = 0; i < sizeof known_headers / sizeof *known_headers; i++) {
        const char **field = (const char **)((char *)argument + known_headers[i].offset);
        if (len == known_headers[i].len && !*field && strcasecmp(key, known_headers[i].name) == 0)
            *field = value ? value : "";
    }
    return MHD_YES;
}

static const char *or_empty(const char *value)
{
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

static bool is_served(const struct http_route *route, const struct peer *peer)
{
    unsigned here = HTTP_ADMIN;
    if (!peer->admin)
        here = peer->loop->server->has_admin ? HTTP_PUBLIC : HTTP_PUBLIC | HTTP_WITHOUT_ADMIN;
    return here & (route->sides ? route->sides : HTTP_PUBLIC);
}

static void find_route(struct exchange *exchange, const char *method)
{
    struct error err;
    const struct http_route *route = exchange->loop->server->handlers.routes;
    while (route->path && (!http_path_matches(route->path, exchange->request.path, exchange->request.captures) ||
                           !is_served(route, exchange->peer)))
        route++;
    if (!route->path) {
        error_set(&err, STATUS_NOT_FOUND, "there is nothing at %.200s", exchange->request.path);
        error_hint(&err, "GET / lists the endpoints, with a line for each that can be pasted");
        exchange_refuse(exchange, &err);
        return;
    }
    exchange->route = route;
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

static void check_encoding(struct exchange *exchange, const char *encoding)
{
    struct error err;
    if (inflate_encoding(encoding, &exchange->encoding, &err) != STATUS_OK)
        exchange_refuse(exchange, &err);
}

static size_t declared_length(const struct headers *headers)
{
    if (headers->coding)
        return SIZE_MAX;
    /* libmicrohttpd has checked that it is a number. */
    unsigned long long len = headers->len ? strtoull(headers->len, NULL, 10) : 0;
    return len < SIZE_MAX ? (size_t)len : SIZE_MAX - 1;
}

static void check_length(struct exchange *exchange, const struct headers *headers)
{
    if (!(exchange->request.method & (HTTP_POST | HTTP_PUT)))
        return;
    size_t len = exchange->declared_len, max = exchange->loop->server->options.body_bytes_max;
    if (!headers->coding && !headers->len && !exchange->route->bare) {
        struct error err;
        error_set(&err, STATUS_INVALID, "the request says nothing of its body's length");
        error_hint(&err,
                   "send a Content-Length, or Transfer-Encoding: chunked; with curl: --data-binary @boot.png");
        exchange_refuse_code(exchange, MHD_HTTP_LENGTH_REQUIRED, &err);
    } else if (len != SIZE_MAX && len > max) {
        exchange_refuse_too_large(exchange, max);
    } else if (len != SIZE_MAX) {
        exchange_reserve_body(exchange, len < BODY_BYTES_FIRST ? len : BODY_BYTES_FIRST);
    }
}

/* The places above the limit are for health checks; whoever else has one is turned away, unless others have become free. */
static void check_place(struct exchange *exchange)
{
    struct peer *peer = exchange->peer;
    if (!peer->reserved || (exchange->route && exchange->route->vital) || http_has_place(peer))
        return;
    struct error err;
    exchange->out_of_step = true;
    error_set(&err, STATUS_OVERLOADED, "all %zu connections are taken",
              exchange->loop->server->options.connections_max);
    error_hint(
        &err,
        "send it again after the seconds that Retry-After says, or start mlpd with a larger --connections-max");
    exchange->request.rejection = HTTP_REJECTED_CONNECTIONS;
    exchange_refuse(exchange, &err);
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

void exchange_read_headers(struct exchange *exchange, const char *path, const char *method, const char *protocol)
{
    struct http_request *request = &exchange->request;
    struct headers headers = {0};
    MHD_get_connection_values(exchange->connection, MHD_HEADER_KIND, note_header, &headers);
    request->path = path_of_target(path);
    request->content_type = or_empty(headers.content_type);
    request->accept = or_empty(headers.accept);
    request->host = or_empty(headers.host);
    request->user_agent = or_empty(headers.user_agent);
    request_id_choose(headers.request_id, exchange->request_id);
    exchange->method = method;
    exchange->protocol = protocol;
    exchange->declared_len = declared_length(&headers);
    exchange->expects_continue = headers.expect && strcasecmp(headers.expect, "100-continue") == 0;
    find_route(exchange, method);
    if (!exchange->refused)
        check_place(exchange);
    if (!exchange->refused)
        check_parameters(exchange);
    if (!exchange->refused)
        check_encoding(exchange, or_empty(headers.encoding));
    if (!exchange->refused)
        check_length(exchange, &headers);
}
