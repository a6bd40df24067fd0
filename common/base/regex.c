/* Regular expressions by PCRE2. */
#include "common/base/regex.h"

#include <stdlib.h>
#include "common/base/mem.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* PCRE2 counts its steps anew for each place of the subject that a match may start at. STEPS_EACH
 * bounds one place, STEPS_ALL what all places may take together (milliseconds of machine code);
 * but no place gets fewer than STEPS_LEAST. */
#define STEPS_EACH 100000
#define STEPS_ALL 2000000
#define STEPS_LEAST 100
/* What is remembered to go back to: of the interpreter and of machine code. */
#define HEAP_KIB 1024
#define JIT_STACK_START (16u << 10)
#define JIT_STACK_MAX (256u << 10)

#define COMPILE_OPTIONS \
    (PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_DOLLAR_ENDONLY)

struct regex {
    pcre2_code *code;
    bool is_anchored; /* a match starts at the subject's start only */
    uint32_t groups;
};

struct regex_room {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

struct regex *regex_new(struct slice pattern, unsigned options, struct regex_error *error)
{
    uint32_t flags = COMPILE_OPTIONS | (options & REGEX_CASELESS ? PCRE2_CASELESS : 0);
    const char *text = pattern.n > 0 ? pattern.p : "";
    uint32_t all;
    int why;
    struct regex *re;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)text, pattern.n, flags, &why, &error->at, NULL);

    if (!code) {
        (void)pcre2_get_error_message(why, (PCRE2_UCHAR *)error->text, sizeof error->text);
        return NULL;
    }
    /* Where it fails the interpreter does the same, slower. */
    if (!(options & REGEX_INTERPRETED))
        (void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
    re = xcalloc(1, sizeof *re);
    re->code = code;
    (void)pcre2_pattern_info(code, PCRE2_INFO_ALLOPTIONS, &all);
    (void)pcre2_pattern_info(code, PCRE2_INFO_CAPTURECOUNT, &re->groups);
    re->is_anchored = all & PCRE2_ANCHORED;
    return re;
}

unsigned regex_groups(const struct regex *re)
{
    return re->groups;
}

void regex_free(struct regex **re)
{
    if (!*re)
        return;
    pcre2_code_free((*re)->code);
    free(*re);
    *re = NULL;
}

struct regex_room *regex_room_new(void)
{
    struct regex_room *room = xcalloc(1, sizeof *room);

    room->data = pcre2_match_data_create(REGEX_CAPTURES, NULL);
    room->context = pcre2_match_context_create(NULL);
    if (!room->data || !room->context)
        abort(); /* as xcalloc */
    (void)pcre2_set_heap_limit(room->context, HEAP_KIB);
    /* NULL where there is no machine code, which then needs none. */
    room->stack = pcre2_jit_stack_create(JIT_STACK_START, JIT_STACK_MAX, NULL);
    if (room->stack)
        pcre2_jit_stack_assign(room->context, NULL, room->stack);
    return room;
}

void regex_room_free(struct regex_room **room)
{
    if (!*room)
        return;
    pcre2_match_data_free((*room)->data);
    pcre2_match_context_free((*room)->context);
    pcre2_jit_stack_free((*room)->stack);
    free(*room);
    *room = NULL;
}

static uint32_t steps_for(const struct regex *re, size_t subject)
{
    size_t steps = re->is_anchored ? STEPS_EACH : STEPS_ALL / (subject + 1);

    if (steps > STEPS_EACH)
        return STEPS_EACH;
    return steps < STEPS_LEAST ? STEPS_LEAST : (uint32_t)steps;
}

static void take_captures(pcre2_match_data *data, unsigned n, struct slice subject,
                          struct regex_captures *captures)
{
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(data);

    for (unsigned i = 0; i < REGEX_CAPTURES; i++) {
        PCRE2_SIZE from = at[2 * i], to = at[2 * i + 1];

        /* \K in a lookahead of old versions can put the start behind the end. */
        if (i >= n || from == PCRE2_UNSET || from > to)
            captures->v[i] = SLICE_NONE;
        else
            captures->v[i] = slice_of(subject.p + from, to - from);
    }
}

enum regex_result regex_match(const struct regex *re, struct regex_room *room,
                              struct slice subject, struct regex_captures *captures)
{
    int n;

    if (!subject.p)
        subject = SLICE("");
    (void)pcre2_set_match_limit(room->context, steps_for(re, subject.n));
    n = pcre2_match(re->code, (PCRE2_SPTR)subject.p, subject.n, 0, 0, room->data, room->context);
    if (n == PCRE2_ERROR_NOMATCH)
        return REGEX_NO_MATCH;
    if (n < 0)
        return REGEX_LIMIT;
    /* 0: there are more groups than slices. */
    if (captures)
        take_captures(room->data, n == 0 ? REGEX_CAPTURES : (unsigned)n, subject, captures);
    return REGEX_MATCH;
}
