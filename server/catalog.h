/* The models that are served, by name and version, and who uses them at the moment.
 *
 * Each I/O loop has a reader, with a lock of its own that nobody else takes but threads that decode for this loop, and
 * whoever changes the catalog: he takes all readers' locks, for as long as it takes to put a pointer. So a request finds its
 * model, and holds it, without touching memory that another loop writes; loading, which is slow, happens outside.
 *
 * What leaves the catalog is freed by catalog_collect when nobody holds it any more. Whoever holds it goes on undisturbed.
 *
 *     struct catalog *catalog;
 *     if (catalog_create(loops, NULL, &catalog, &err) != STATUS_OK) ...
 *     struct catalog_reader *reader = catalog_take_reader(catalog);           // each loop
 *     struct served *served;
 *     if (catalog_acquire(reader, &(struct catalog_key){.name = "digits", .name_len = 6}, &served, &err) == STATUS_OK)
 *         catalog_release(reader, served);                                    // when the request has ended
 *
 *     catalog_put(catalog, "digits", "4", served, NULL, &err);                // one thread at a time changes it
 *     catalog_remove(catalog, "digits", "3");
 *     catalog_collect(catalog);
 *     catalog_free(catalog);
 */
#ifndef MLPD_SERVER_CATALOG_H
#define MLPD_SERVER_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/status.h"
#include "server/buffer.h"
#include "server/served.h"

struct catalog;
struct catalog_reader;

/* `readers`: how many there will be. default_model: a name, which outlives the catalog, or NULL: the only model is it.
 * free_served frees what left the catalog; `context` goes with it. */
struct catalog_options {
    size_t readers;
    const char *default_model;
    void (*free_served)(void *context, struct served *served);
    void *context;
};

enum status catalog_create(const struct catalog_options *options, struct catalog **ret, struct error *err);

/* Frees all that is in it, or has left it. No reader holds anything. Takes NULL. */
void catalog_free(struct catalog *catalog);

/* ---- readers ---- */

/* The next one; they live as long as the catalog. */
struct catalog_reader *catalog_take_reader(struct catalog *catalog);

/* Which model is meant. Texts need not end in a NUL. */
struct catalog_key {
    const char *name; /* NULL: the default model */
    size_t name_len;
    const char *version; /* NULL: the newest that can be served */
    size_t version_len;
};

/* Finds the version and holds it until catalog_release. STATUS_NOT_FOUND, with the names that there are, or
 * STATUS_OVERLOADED where it is being loaded or could not be. Any thread that works for the reader's loop. */
enum status catalog_acquire(struct catalog_reader *reader, const struct catalog_key *key, struct served **ret,
                            struct error *err);

void catalog_release(struct catalog_reader *reader, struct served *served);

/* Appends all models as JSON: {"models":[{"name","default","reason","versions":[{"version","state","reason","parameters",
 * "bytes","requests"}]}]}; of a named one its object alone, and false if there is none. */
void catalog_describe(struct catalog_reader *reader, struct buffer *out);
bool catalog_describe_model(struct catalog_reader *reader, const char *name, size_t name_len, struct buffer *out);

/* ---- changes, by one thread at a time ---- */

/* Enters a version, or says more of one: with `served`, which is the catalog's from now on, it is READY, and what was
 * served of it before leaves; with a `reason` alone it is UNAVAILABLE, and with neither LOADING, unless it is READY
 * already, which it stays. `version` NULL: the reason is the whole model's. On failure `served` is the caller's still. */
enum status catalog_put(struct catalog *catalog, const char *name, const char *version, struct served *served,
                        const char *reason, struct error *err);

/* Takes a version out, or with version NULL the whole model. What is not there need not be. */
void catalog_remove(struct catalog *catalog, const char *name, const char *version);

/* Takes what is served of the model out, and leaves its versions UNAVAILABLE for this reason. */
void catalog_withdraw(struct catalog *catalog, const char *name, const char *reason);

/* Frees what has left and nobody holds; returns how many are left that somebody holds. */
size_t catalog_collect(struct catalog *catalog);

struct catalog_summary {
    size_t models, ready_versions, parameters; /* parameters of all that are ready */
    const struct served *first;                /* of the ready ones, or NULL; lives until it is taken out */
};

struct catalog_summary catalog_summarise(struct catalog *catalog);

#endif
