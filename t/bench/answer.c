/* Answers: answer.h. Owns nothing; called by load. Trusts what it measures to be well formed where
 * it does not need to know better. */
#include "t/bench/answer.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

void answer_init(struct answer *a, uint64_t expect)
{
    a->expect = expect;
    a->body = a->left = 0;
    a->is_head_read = a->is_chunked = a->is_last = false;
    a->n = 0;
}

bool answer_is_plain(const struct answer *a)
{
    return a->is_head_read && !a->is_chunked;
}

static enum answer_state judge(const struct answer *a)
{
    return a->expect == ANSWER_ANY || a->body == a->expect ? ANSWER_DONE : ANSWER_WRONG;
}

enum answer_state answer_skip(struct answer *a, size_t n)
{
    if (n > a->left)
        return ANSWER_WRONG;
    a->left -= n;
    a->body += n;
    return a->left > 0 ? ANSWER_MORE : judge(a);
}

/* The field's value in a head that ends in NUL, or NULL. */
static const char *field(const char *head, const char *name)
{
    size_t n = strlen(name);

    for (const char *p = head; (p = strchr(p, '\n')); ) {
        p++;
        if (strncasecmp(p, name, n) == 0)
            return p + n + strspn(p + n, " ");
    }
    return NULL;
}

static bool head_read(struct answer *a)
{
    const char *length = field(a->text, "content-length:");
    const char *coding = field(a->text, "transfer-encoding:");

    a->is_head_read = true;
    a->is_chunked = coding && strncasecmp(coding, "chunked", 7) == 0;
    a->left = length && !a->is_chunked ? strtoull(length, NULL, 10) : 0;
    a->n = 0;
    return strncmp(a->text, "HTTP/1.1 200", 12) == 0 && (length || a->is_chunked);
}

/* Takes bytes up to and with `mark` into text; how many, 0: they did not fit. */
static size_t gather(struct answer *a, const char *p, size_t n, const char *mark, bool *is_whole)
{
    size_t len = strlen(mark);
    size_t before = a->n;
    size_t room = sizeof a->text - 1 - a->n;
    const char *end;

    *is_whole = false;
    if (n > room)
        n = room;
    memcpy(a->text + a->n, p, n);
    a->n += n;
    end = memmem(a->text, a->n, mark, len);
    if (!end)
        return n;
    *is_whole = true;
    a->n = (size_t)(end - a->text) + len;
    a->text[a->n] = '\0';
    return a->n - before;
}

/* The line before a chunk, or the empty one behind it: what follows is told by left and is_last. */
static bool line_read(struct answer *a)
{
    a->n = 0;
    if (a->text[0] == '\r')
        return a->is_last;
    a->left = strtoull(a->text, NULL, 16);
    a->is_last = a->left == 0;
    return false;
}

static enum answer_state chunks(struct answer *a, const char *p, size_t n)
{
    while (n > 0) {
        bool is_whole;
        size_t used = n < a->left ? n : a->left;

        if (used > 0) {
            a->left -= used;
            a->body += used;
        } else {
            used = gather(a, p, n, "\r\n", &is_whole);
            if (used == 0)
                return ANSWER_WRONG;
            if (is_whole && line_read(a))
                return used == n ? judge(a) : ANSWER_WRONG;
        }
        p += used;
        n -= used;
    }
    return ANSWER_MORE;
}

enum answer_state answer_read(struct answer *a, const char *p, size_t n)
{
    bool is_whole = true;

    if (!a->is_head_read) {
        size_t used = gather(a, p, n, "\r\n\r\n", &is_whole);

        if (used == 0 || (is_whole && !head_read(a)))
            return ANSWER_WRONG;
        p += used;
        n -= used;
    }
    if (!is_whole)
        return ANSWER_MORE;
    return a->is_chunked ? chunks(a, p, n) : answer_skip(a, n);
}
