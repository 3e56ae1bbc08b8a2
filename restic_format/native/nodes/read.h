/* Reading small files whole. System calls only, nothing of the interpreter. */
#ifndef RESTIC_FORMAT_READ_H
#define RESTIC_FORMAT_READ_H

#include "look.h"

/* Reads a small regular file of the open *directory*: its length, or -1 where anything is out of the ordinary: it cannot be opened, is no regular
 * file, has more than *limit* bytes or more than *room*. The caller then looks closer. */
int64_t read_small(int directory, const char *name, uint8_t *buffer, size_t room, size_t limit, growing *texts,
                   look_found *found, int *changed);

#endif
