/* Reading Accept-Encoding. See accept_encoding.h. */
#include "worker/http/accept_encoding.h"

#define Q_ONE 1000

/* qvalue of RFC 9110 12.4.2 in thousandths; what is none is not wanted. */
static int parse_q(struct slice s)
{
    int q = 0, scale = Q_ONE;

    if (s.n == 0 || s.n > 5 || (s.p[0] != '0' && s.p[0] != '1') || (s.n > 1 && s.p[1] != '.'))
        return 0;
    for (size_t i = 0; i < s.n; i++) {
        if (i == 1)
            continue;
        if (s.p[i] < '0' || s.p[i] > '9')
            return 0;
        q += (s.p[i] - '0') * scale;
        scale /= 10;
    }
    return q > Q_ONE ? 0 : q;
}

/* Cuts the item's weight off. */
static int cut_q(struct slice *item)
{
    struct slice rest = *item, name = slice_cut(&rest, ';');
    int q = Q_ONE;

    *item = slice_trim(name);
    while (rest.p) {
        struct slice p = slice_trim(slice_cut(&rest, ';'));

        if (slice_istarts(p, SLICE("q=")))
            q = parse_q(slice_of(p.p + 2, p.n - 2));
    }
    return q;
}

static enum conf_coding coding_of(struct slice name)
{
    if (slice_ieq(name, SLICE("gzip")) || slice_ieq(name, SLICE("x-gzip")))
        return CONF_CODING_GZIP;
    if (slice_ieq(name, SLICE("zstd")))
        return CONF_CODING_ZSTD;
    return slice_ieq(name, SLICE("br")) ? CONF_CODING_BR : CONF_CODING_NONE;
}

enum conf_coding accept_encoding_choose(const struct fields *request,
                                        const struct conf_codings *ours)
{
    int q[CONF_CODINGS] = { -1, -1, -1, -1 }, any = -1, best_q = 0;
    enum conf_coding best = CONF_CODING_NONE;

    if (!fields_may_have(request, FIELD_ACCEPT_ENCODING))
        return CONF_CODING_NONE;
    FIELDS_EACH(f, request) {
        struct slice rest = f->value, item;

        while (f->id == FIELD_ACCEPT_ENCODING && slice_next_item(&rest, &item)) {
            int weight = cut_q(&item);
            enum conf_coding coding = coding_of(item);

            if (slice_eq(item, SLICE("*")))
                any = weight;
            else if (coding != CONF_CODING_NONE || slice_ieq(item, SLICE("identity")))
                q[coding] = weight;
        }
    }
    for (size_t i = 0; i < ours->n; i++) {
        int weight = q[ours->v[i]] >= 0 ? q[ours->v[i]] : any;

        if (weight > best_q) {
            best_q = weight;
            best = ours->v[i];
        }
    }
    return best_q >= q[CONF_CODING_NONE] ? best : CONF_CODING_NONE;
}
