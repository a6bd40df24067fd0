/* The flight recorder as the proxy writes it: streams, sessions, and what the worker as a whole
 * went through. */
#ifndef RPD_PROXY_RECORDER_H
#define RPD_PROXY_RECORDER_H

#include "common/core/flight.h"
#include "worker/io/end_reason.h"

struct proxy;

struct recorder {
    struct flight flight;
    /* Counters as the last tick saw them. */
    uint64_t full, accept_errors, shed_memory, shed_descriptors;
    bool is_full; /* the last that was told of max_connections */
};

/* Records into the master's memory; NULL: nothing. After up_init, before the first generation. */
void recorder_init(struct proxy *p, void *memory);
void recorder_fini(struct proxy *p);
/* Once a second: what became short since the last, as events. */
void recorder_tick(struct proxy *p);

/* Of a record just taken: what every stream has. Names may be set between the two; the texts are
 * the request's. */
void recorder_begin(const struct recorder *rec, struct flight_record *r, enum flight_kind kind,
                    uint64_t began_us, const struct ip *client);
static inline void recorder_begun(struct flight_record *r, struct slice method, struct slice path,
                                  struct slice request_id)
{
    flight_text(r->method, sizeof r->method, method);
    flight_text(r->path, sizeof r->path, path);
    flight_text(r->request_id, sizeof r->request_id, request_id);
    flight_written(r);
}
/* After flight_write and the last values. */
void recorder_end(struct recorder *rec, struct flight_record *r, enum end_reason why);

#endif
