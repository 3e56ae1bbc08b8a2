/* Tables, the two portable methods, and the choice between methods. See rabin.h. */
#include "rabin.h"

#include <string.h>

#define PORTABLE_LANES 8
/* Positions a lane takes in one tile. Longer lanes spend less on filling their first window; shorter ones
 * scan less beyond the cut that ends the search (on average half a tile of about 1 MiB). */
#define PORTABLE_LENGTH 2048
#define VECTOR_LENGTH 1024

static int degree_of(uint64_t polynomial)
{
    int degree = -1;
    while (polynomial) {
        polynomial >>= 1;
        degree++;
    }
    return degree;
}

/* value * x^8 + byte modulo the polynomial; value is reduced and the degree is at most 53. */
static uint64_t append_byte(uint64_t value, unsigned byte, uint64_t polynomial, int degree)
{
    value = (value << 8) | byte;
    for (int bit = 63; bit >= degree; bit--)
        if (value >> bit & 1)
            value ^= polynomial << (bit - degree);
    return value;
}

/* Cut the linear map  byte -> image[byte] << RABIN_SHIFT  into planes. */
static void fill_planes(const uint64_t image[256], uint8_t nibbles[RABIN_PLANES][2][16])
{
    for (int plane = 0; plane < RABIN_PLANES; plane++) {
        for (int nibble = 0; nibble < 16; nibble++) {
            nibbles[plane][0][nibble] = (uint8_t)(image[nibble] << RABIN_SHIFT >> (8 * plane));
            nibbles[plane][1][nibble] = (uint8_t)(image[nibble << 4] << RABIN_SHIFT >> (8 * plane));
        }
    }
}

void rabin_prepare(rabin_tables *tables, uint64_t polynomial, int split_bits)
{
    uint64_t overflow[256], leave[256];
    int degree = degree_of(polynomial);

    memset(tables, 0, sizeof *tables);
    tables->degree = degree;
    tables->split_bits = split_bits;
    tables->split_mask = ((uint64_t)1 << split_bits) - 1;
    for (unsigned byte = 0; byte < 256; byte++) {
        uint64_t value = append_byte(0, byte, polynomial, degree);
        for (int i = 0; i < RABIN_WINDOW - 1; i++)
            value = append_byte(value, 0, polynomial, degree);
        tables->out[byte] = value;
        leave[byte] = append_byte(value, 0, polynomial, degree);

        value = (uint64_t)byte << degree;
        for (int bit = 63; bit >= degree; bit--)
            if (value >> bit & 1)
                value ^= polynomial << (bit - degree);
        overflow[byte] = value;
        tables->mod[byte] = value | (uint64_t)byte << degree;
    }
    if (degree != RABIN_DEGREE)
        return;
    fill_planes(overflow, tables->overflow_nibbles);
    fill_planes(leave, tables->leave_nibbles);
    for (int plane = 0; plane < 3; plane++)
        tables->split_planes[plane] = (uint8_t)(tables->split_mask << RABIN_SHIFT >> (8 * plane));
}

/* Slide the window: shift is degree - 8. */
#define STEP(value, leaving, entering) \
    do { \
        (value) ^= tables->out[leaving]; \
        (value) = ((value) << 8 | (entering)) ^ tables->mod[(value) >> shift]; \
    } while (0)

#define APPEND(value, entering) ((value) = ((value) << 8 | (entering)) ^ tables->mod[(value) >> shift])

size_t rabin_find_plain(const rabin_tables *tables, const uint8_t *data, size_t first, size_t last)
{
    const int shift = tables->degree - 8;
    const uint64_t mask = tables->split_mask;
    uint64_t value = 0;

    if (first > last)
        return 0;
    for (size_t i = first - RABIN_WINDOW; i < first; i++)
        APPEND(value, data[i]);
    for (size_t p = first;; p++) {
        if (!(value & mask))
            return p;
        if (p == last)
            return 0;
        STEP(value, data[p - RABIN_WINDOW], data[p]);
    }
}

/* Positions first .. first + 8 * length - 1; lane l takes `length` of them from first + l * length. */
static size_t scan_lanes(const rabin_tables *tables, const uint8_t *data, size_t first, size_t length)
{
    const int shift = tables->degree - 8;
    const uint64_t mask = tables->split_mask;
    const uint8_t *at[PORTABLE_LANES];
    uint64_t value[PORTABLE_LANES] = {0};
    size_t found = 0;

    for (int lane = 0; lane < PORTABLE_LANES; lane++)
        at[lane] = data + first + (size_t)lane * length;
    for (int i = -RABIN_WINDOW; i < 0; i++)
        for (int lane = 0; lane < PORTABLE_LANES; lane++)
            APPEND(value[lane], at[lane][i]);

    /* Eight named values stay in registers where an array would not; a lane behind a hit has nothing to add, but
     * hits are one in a million, so it just runs on. */
    uint64_t a = value[0], b = value[1], c = value[2], d = value[3];
    uint64_t e = value[4], f = value[5], g = value[6], h = value[7];
    for (size_t i = 0; i < length; i++) {
#define CHECK(lane, value) \
        if (!((value) & mask)) { \
            size_t p = first + (size_t)(lane) * length + i; \
            if (!found || p < found) \
                found = p; \
        }
        CHECK(0, a) CHECK(1, b) CHECK(2, c) CHECK(3, d) CHECK(4, e) CHECK(5, f) CHECK(6, g) CHECK(7, h)
#undef CHECK
        if (i + 1 == length || found == first + i)
            break;
#define SLIDE(lane, value) STEP(value, at[lane][(ptrdiff_t)i - RABIN_WINDOW], at[lane][i]);
        SLIDE(0, a) SLIDE(1, b) SLIDE(2, c) SLIDE(3, d) SLIDE(4, e) SLIDE(5, f) SLIDE(6, g) SLIDE(7, h)
#undef SLIDE
    }
    return found;
}

static size_t find_lanes(const rabin_tables *tables, const uint8_t *data, size_t first, size_t last)
{
    while (first <= last) {
        size_t length = (last - first + 1) / PORTABLE_LANES;
        if (length < RABIN_WINDOW)
            return rabin_find_plain(tables, data, first, last);
        if (length > PORTABLE_LENGTH)
            length = PORTABLE_LENGTH;
        size_t found = scan_lanes(tables, data, first, length);
        if (found)
            return found;
        first += PORTABLE_LANES * length;
    }
    return 0;
}

static size_t find_vector(const rabin_tables *tables, const uint8_t *data, size_t first, size_t last)
{
    const size_t lanes = RABIN_VECTOR_LANES;
    /* A scan begins after its base, so the first position is looked at alone. */
    size_t base = first, found = rabin_find_plain(tables, data, first, first);

    if (found)
        return found;
    while (base < last) {
        size_t length = (last - base) / lanes / RABIN_WINDOW * RABIN_WINDOW;
        if (!length)
            return find_lanes(tables, data, base + 1, last);
        if (length > VECTOR_LENGTH)
            length = VECTOR_LENGTH;
        found = rabin_scan_avx2(tables, data, base, length);
        if (found)
            return found;
        base += lanes * length;
    }
    return 0;
}

int rabin_supports(const rabin_tables *tables, rabin_method method)
{
    if (method == RABIN_PLAIN || method == RABIN_LANES)
        return 1;
    return tables->degree == RABIN_DEGREE && tables->split_bits <= RABIN_VECTOR_BITS && rabin_x86_supports(method);
}

size_t rabin_find(const rabin_tables *tables, rabin_method method, const uint8_t *data, size_t first, size_t last)
{
    if (first > last)
        return 0;
    switch (method) {
    case RABIN_PLAIN:
        return rabin_find_plain(tables, data, first, last);
    case RABIN_LANES:
        return find_lanes(tables, data, first, last);
    default:
        return find_vector(tables, data, first, last);
    }
}
