/* Which of a model's versions are to be served: by the text of an option, or by the model's own config.json, which lies
 * beside its versions:
 *
 *     latest, latest:3           the newest, the newest three
 *     all
 *     specific:1,3
 *
 *     {"version_policy": "latest:3"}
 *     {"version_policy": {"latest": {"num_versions": 3}}}, {"all": {}}, {"specific": {"versions": [1, 3]}}
 *
 * Values without a life of their own; any thread may call this.
 *
 *     struct version_policy policy;
 *     if (version_policy_parse("latest:2", &policy, &err) != STATUS_OK) ...
 *     for (size_t i = 0; i < versions.count; i++)
 *         if (version_policy_wants(&policy, versions.items[i], i)) ...
 */
#ifndef MLPD_ENGINE_VERSION_POLICY_H
#define MLPD_ENGINE_VERSION_POLICY_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/status.h"

enum { VERSION_POLICY_TEXT_MAX = 512 };

struct version_policy {
    size_t latest;                          /* so many of the newest; SIZE_MAX: all; 0: those in `specific` */
    char specific[VERSION_POLICY_TEXT_MAX]; /* ",1,3," */
};

/* Refusals quote the text, and say what is taken. */
enum status version_policy_parse(const char *text, struct version_policy *ret, struct error *err);

/* Reads <path>/config.json; without that file *ret is what `otherwise` says. */
enum status version_policy_read(const char *path, const struct version_policy *otherwise,
                                struct version_policy *ret, struct error *err);

/* `rank`: 0 for the newest version, 1 for the one before. */
bool version_policy_wants(const struct version_policy *policy, const char *version, size_t rank);

#endif
