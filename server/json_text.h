/* JSON's smallest parts, read strictly (RFC 8259): white space, numbers, strings; and whether a text is JSON at all.
 * Every text must be followed by a NUL, which ends each of these readers. Stateless; any thread may call it.
 */
#ifndef MLPD_SERVER_JSON_TEXT_H
#define MLPD_SERVER_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* A JSON string, still escaped, inside the text. */
struct json_string {
    const char *data;
    size_t len;
};

/* What is wrong with a string, as a phrase ("half of a surrogate pair"), and where. */
struct json_fault {
    const char *at;
    const char *what;
};

static inline const char *json_skip_space(const char *at)
{
    while (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')
        at++;
    return at;
}

/* Reads one JSON number at text, correctly rounded to float32. Returns the end of the number, or NULL if there is none by
 * RFC 8259's grammar; 01, 1. and 1e are none. An overflow gives infinity. */
const char *json_number_read(const char *text, float *ret_value);

/* Reads the string whose opening quote is at text; its escapes and its UTF-8 are checked. Returns the byte after its
 * closing quote, or NULL and the fault. */
const char *json_string_read(const char *text, struct json_string *ret_string, struct json_fault *ret_fault);

/* Undoes a string's escapes into dst (string.len bytes are enough). Returns the length. */
size_t json_string_unescape(struct json_string string, char *dst);

/* Whether the whole text is one well-formed JSON value of any kind, whatever it says. One that is nested deeper than 512
 * counts as not well-formed. text[len] must be readable and '\0'. */
bool json_is_valid(const char *text, size_t len);

#endif
