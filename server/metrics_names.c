/* The names of endpoints and models, and the numbers that they get. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/metrics_parts.h"

size_t metrics_add_endpoint(struct metrics *metrics, const char *path, bool timed)
{
    pthread_mutex_lock(&metrics->lock);
    size_t endpoint = METRICS_OTHER;
    for (size_t i = METRICS_OTHER + 1; i < metrics->endpoint_count; i++)
        if (strcmp(metrics->endpoints[i].path, path) == 0)
            endpoint = i;
    if (endpoint == METRICS_OTHER && metrics->endpoint_count < METRICS_ENDPOINTS_MAX) {
        endpoint = metrics->endpoint_count++;
        metrics->endpoints[endpoint].path = path;
    }
    if (endpoint != METRICS_OTHER)
        metrics->endpoints[endpoint].timed |= timed;
    pthread_mutex_unlock(&metrics->lock);
    return endpoint;
}

/* Appends the text and its NUL at *at, and moves *at behind it. */
static const char *put_text(char **at, const char *text)
{
    char *copy = *at;
    size_t size = strlen(text) + 1;
    memcpy(copy, text, size);
    *at += size;
    return copy;
}

/* A place with a copy of the texts, in one piece of memory; false without any. */
static bool copy_texts(const struct metrics_model *model, struct model_place *ret)
{
    char *at = malloc(strlen(model->name) + strlen(model->version) + strlen(model->device) +
                      strlen(model->kernels) + 4);
    if (!at)
        return false;
    *ret = (struct model_place){.storage = at};
    ret->texts.name = put_text(&at, model->name);
    ret->texts.version = put_text(&at, model->version);
    ret->texts.device = put_text(&at, model->device);
    ret->texts.kernels = put_text(&at, model->kernels);
    return true;
}

static bool same_texts(const struct metrics_model *a, const struct metrics_model *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->version, b->version) == 0 &&
           strcmp(a->device, b->device) == 0 && strcmp(a->kernels, b->kernels) == 0;
}

/* The place that has these texts; METRICS_OTHER if none has. */
static size_t find_model(const struct metrics *metrics, const struct metrics_model *model)
{
    for (size_t i = METRICS_OTHER + 1; i < metrics->model_count; i++)
        if (same_texts(&metrics->models[i].texts, model))
            return i;
    return METRICS_OTHER;
}

/* A place that was never taken, or the one that was left first; METRICS_OTHER if all are in use. */
static size_t find_place(const struct metrics *metrics)
{
    if (metrics->model_count < METRICS_MODELS_MAX)
        return metrics->model_count;
    size_t place = METRICS_OTHER;
    for (size_t i = METRICS_OTHER + 1; i < METRICS_MODELS_MAX; i++) {
        const struct model_place *model = &metrics->models[i];
        if (!model->uses && (place == METRICS_OTHER || model->removal < metrics->models[place].removal))
            place = i;
    }
    return place;
}

/* Who goes on with the counts of a model whose place was taken, in the series that tell no versions apart: one of the same
 * name, at best on the same device. Else such a series' sum would fall, which Prometheus takes for a restart. NULL: the
 * series has ended. */
static struct model_place *find_heir(struct metrics *metrics, const struct metrics_model *left)
{
    struct model_place *heir = NULL;
    for (size_t i = METRICS_OTHER + 1; i < metrics->model_count; i++) {
        struct model_place *place = &metrics->models[i];
        if (strcmp(place->texts.name, left->name) != 0)
            continue;
        if (strcmp(place->texts.device, left->device) == 0)
            return place;
        heir = place;
    }
    return heir;
}

static void hand_down(struct metrics *metrics, const struct metrics_model *left, struct model_counts *counts)
{
    struct model_place *heir = find_heir(metrics, left);
    if (!heir)
        return;
    if (strcmp(heir->texts.device, left->device) != 0)
        counts->batches = 0; /* the one counter that tells devices apart */
    metrics_add_counters(&heir->inherited, counts, sizeof *counts);
}

/* Puts the model in the place of another, or in a new one. */
static void replace(struct metrics *metrics, size_t index, const struct model_place *taken)
{
    struct model_place *place = &metrics->models[index], left = *place;
    struct model_counts counts;
    metrics_sum_model(metrics, index, &counts);
    metrics_add_counters(&counts, &left.inherited, sizeof counts);
    *place = *taken;
    metrics_sum_place(metrics, index, &place->before);
    if (!left.storage)
        return;
    hand_down(metrics, &left.texts, &counts);
    free(left.storage);
}

static size_t take_place(struct metrics *metrics, const struct metrics_model *model)
{
    size_t place = find_place(metrics);
    struct model_place taken;
    if (place == METRICS_OTHER || !copy_texts(model, &taken))
        return METRICS_OTHER;
    replace(metrics, place, &taken);
    if (place == metrics->model_count)
        metrics->model_count++;
    return place;
}

size_t metrics_add_model(struct metrics *metrics, const struct metrics_model *model)
{
    pthread_mutex_lock(&metrics->lock);
    size_t place = find_model(metrics, model);
    if (place == METRICS_OTHER)
        place = take_place(metrics, model);
    metrics->models[place].uses++;
    pthread_mutex_unlock(&metrics->lock);
    return place;
}

void metrics_remove_model(struct metrics *metrics, size_t model)
{
    pthread_mutex_lock(&metrics->lock);
    struct model_place *place = &metrics->models[model];
    assert(place->uses > 0);
    if (--place->uses == 0)
        place->removal = ++metrics->removals;
    pthread_mutex_unlock(&metrics->lock);
}
