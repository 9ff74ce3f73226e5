/* Lists of addresses. What can never be one is refused here, with the mend; whether a name resolves, and whether an address
 * is this machine's, is for the listener to find out. */
#include <ctype.h>
#include <string.h>
#include <sys/un.h>

#include "engine/utf8.h"
#include "server/option_parts.h"

static enum status check_unix_path(const char *path, struct error *err)
{
    enum { LEN_MAX = sizeof((struct sockaddr_un *)0)->sun_path - 1 };
    if (*path != '/') {
        error_set(err, STATUS_INVALID, "unix:%.*s: expected a path that begins with /", OPTION_SHOWN(path));
        return error_hint(err, "for example unix:/run/mlpd.sock");
    }
    if (strlen(path) > LEN_MAX) {
        error_set(err, STATUS_INVALID, "unix:%.*s...: the path has %zu bytes, at most %d fit", OPTION_SHOWN(path),
                  strlen(path), LEN_MAX);
        return error_hint(err, "choose a shorter one, for example unix:/run/mlpd.sock");
    }
    return STATUS_OK;
}

/* How to mend what is often written and never an address; NULL for all else, which is for the resolver to judge. */
static const char *address_mend(const char *text)
{
    const char *colon = strchr(text, ':');
    if (strchr(text, '/'))
        return *text == '/' ? "write unix: before the path of a socket"
                            : "write the host alone, without http:// and path";
    if (strpbrk(text, "[]"))
        return "write an IPv6 address without brackets, for example ::1";
    if (colon && !strchr(colon + 1, ':'))
        return "write the port into --port or --admin-port";
    return NULL;
}

static enum status check_address(const char *text, struct error *err)
{
    if (strncmp(text, "unix:", 5) == 0)
        return check_unix_path(text + 5, err);
    if (!*text) {
        error_set(err, STATUS_INVALID, "an address between commas is empty");
        return error_hint(err, "write for example 127.0.0.1,::1");
    }
    const char *mend = address_mend(text);
    if (!mend)
        return STATUS_OK;
    error_set(err, STATUS_INVALID, "%.*s: expected a name, an IPv4 or IPv6 address, or unix:/path",
              OPTION_SHOWN(text));
    return error_hint(err, "%s", mend);
}

static enum status add_address(struct options *options, const char *begin, size_t len, struct option_list *list,
                               struct error *err)
{
    const char *text = option_keep_text(options, begin, len);
    if (!text)
        return error_set(err, STATUS_NO_MEMORY, "no memory for an address");
    enum status status = check_address(text, err);
    if (status != STATUS_OK)
        return status;
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->texts[i], text) == 0) {
            error_set(err, STATUS_INVALID, "%.*s is given twice", OPTION_SHOWN(text));
            return error_hint(err, "give each address once");
        }
    }
    if (list->count == OPTION_LIST_MAX) {
        error_set(err, STATUS_INVALID, "there are more than %d addresses", OPTION_LIST_MAX);
        return error_hint(err, "give fewer; 0.0.0.0 or :: stands for all");
    }
    list->texts[list->count++] = text;
    return STATUS_OK;
}

enum status option_add_addresses(struct options *options, const char *text, struct option_list *list,
                                 struct error *err)
{
    for (;;) {
        text += strspn(text, " \t");
        size_t piece_len = strcspn(text, ","), len = piece_len;
        while (len > 0 && isblank((unsigned char)text[len - 1]))
            len--;
        enum status status = add_address(options, text, len, list, err);
        if (status != STATUS_OK || !text[piece_len])
            return status;
        text += piece_len + 1;
    }
}
