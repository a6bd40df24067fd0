/* libFuzzer target: what `rpd: keys` reads of workers, and they of it. The first byte says which.
 * What is accepted is, byte for byte, what would have been written: nothing is overlooked. */
#include "common/tls/keys_message.h"
#include "t/fuzz/fuzz.h"

static char again[KEYS_REQUESTS_MAX];

static void compare(struct slice before, struct slice after, size_t n)
{
    FUZZ_CHECK(n == before.n - after.n && memcmp(again, before.p, n) == 0);
}

static void requests(struct slice packet)
{
    struct keys_request r;
    struct slice before = packet;

    while (keys_take_request(&packet, &r) > 0) {
        FUZZ_CHECK(packet.n < before.n);
        compare(before, packet, keys_put_request(again, 0, sizeof again, &r));
        before = packet;
    }
}

static void replies(struct slice packet)
{
    struct keys_reply r;
    struct slice before = packet;

    while (keys_take_reply(&packet, &r) > 0) {
        FUZZ_CHECK(packet.n < before.n);
        compare(before, packet, keys_put_reply(again, 0, sizeof again, &r));
        before = packet;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice packet;

    if (size == 0)
        return 0;
    packet = fuzz_exact(data + 1, size - 1);
    (data[0] & 1 ? replies : requests)(packet);
    fuzz_exact_free(packet);
    return 0;
}
