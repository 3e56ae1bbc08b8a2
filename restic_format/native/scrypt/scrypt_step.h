/* One step of scryptROMix for the lanes in one vector or in two: to = scryptBlockMix(a ^ b) in every slot.
 *
 * Not a header but a pattern, included once for each kind of vector. Wanted: NAME(name) for the functions' names, TARGET for
 * their attributes, VECTOR of WIDTH quads, LOAD(i), a ^ b of the slots from i on at quad `at`, STORE(i, v), the same way back
 * to quad `place`, and TURN(x, a, b, c, d), which puts elements a to d of each quad in order. */

TARGET INLINE void NAME(salsa8)(VECTOR x[][4], int vectors)
{
    VECTOR before[2][4];
    for (int v = 0; v < vectors; v++)
        for (int i = 0; i < 4; i++)
            before[v][i] = x[v][i];
    for (int round = 0; round < 4; round++) {
#define EACH for (int v = 0; v < vectors; v++)
#define QUARTER(i, a, b, n) EACH x[v][i] = TURNED_IN(x[v][i], x[v][a] + x[v][b], n);
        QUARTER(1, 0, 3, 7)
        QUARTER(2, 1, 0, 9)
        QUARTER(3, 2, 1, 13)
        QUARTER(0, 3, 2, 18)
        EACH x[v][1] = SHUFFLE(x[v][1], 3, 0, 1, 2);
        EACH x[v][2] = SHUFFLE(x[v][2], 2, 3, 0, 1);
        EACH x[v][3] = SHUFFLE(x[v][3], 1, 2, 3, 0);
        QUARTER(3, 0, 1, 7)
        QUARTER(2, 3, 0, 9)
        QUARTER(1, 2, 3, 13)
        QUARTER(0, 1, 2, 18)
        EACH x[v][1] = SHUFFLE(x[v][1], 1, 2, 3, 0);
        EACH x[v][2] = SHUFFLE(x[v][2], 2, 3, 0, 1);
        EACH x[v][3] = SHUFFLE(x[v][3], 3, 0, 1, 2);
#undef QUARTER
#undef EACH
    }
    for (int v = 0; v < vectors; v++)
        for (int i = 0; i < 4; i++)
            x[v][i] += before[v][i];
}

TARGET INLINE void NAME(step)(struct slot *slots, uint32_t r, int vectors)
{
    VECTOR x[2][4];
    const char *a[2 * WIDTH], *b[2 * WIDTH];
    char *to[2 * WIDTH];
    for (int i = 0; i < vectors * WIDTH; i++) {
        a[i] = (const char *)slots[i].a;
        b[i] = (const char *)slots[i].b;
        to[i] = (char *)slots[i].to;
    }
    size_t half = (size_t)r * 64;
    for (int i = 0; i < 4; i++)
        for (int v = 0; v < vectors; v++)
            x[v][i] = LOAD(a, v * WIDTH, 2 * half - 64 + i * 16) ^ LOAD(b, v * WIDTH, 2 * half - 64 + i * 16);
    for (size_t at = 0; at < half; at += 64)
        for (int odd = 0; odd < 2; odd++) { /* the even blocks go to the front, the odd ones behind them */
            for (int i = 0; i < 4; i++)
                for (int v = 0; v < vectors; v++)
                    x[v][i] ^= LOAD(a, v * WIDTH, 2 * at + odd * 64 + i * 16) ^ LOAD(b, v * WIDTH, 2 * at + odd * 64 + i * 16);
            NAME(salsa8)(x, vectors);
            for (int i = 0; i < 4; i++)
                for (int v = 0; v < vectors; v++)
                    STORE(v * WIDTH, at + odd * half + i * 16, x[v][i]);
        }
}

TARGET static void NAME(one)(struct slot *slots, uint32_t r)
{
    NAME(step)(slots, r, 1);
}

TARGET static void NAME(two)(struct slot *slots, uint32_t r)
{
    NAME(step)(slots, r, 2);
}

#undef TARGET
#undef NAME
#undef TURNED_IN
