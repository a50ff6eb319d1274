/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The mathematics and the picture file; nothing here knows that there is a network. */

#include <errno.h>
#include <math.h>
#include <png.h>
#include <stdio.h>

#include "mandelbrot.h"

enum { SAMPLES = 2 }; /* in each direction of a pixel: edges are smooth */

uint32_t job_n_tiles(const Job *job) {
        uint32_t columns = (job->width + job->tile_size - 1) / job->tile_size;
        uint32_t rows = (job->height + job->tile_size - 1) / job->tile_size;

        return columns * rows;
}

Area job_area(const Job *job, uint32_t tile) {
        uint32_t columns = (job->width + job->tile_size - 1) / job->tile_size;
        Area area = { .x = tile % columns * job->tile_size, .y = tile / columns * job->tile_size };

        area.width = job->width - area.x < job->tile_size ? job->width - area.x : job->tile_size;
        area.height = job->height - area.y < job->tile_size ? job->height - area.y : job->tile_size;
        return area;
}

int job_is_sane(const Job *job) {
        return job->width >= 1 && job->width <= 65536 && job->height >= 1 && job->height <= 65536 && job->tile_size >= 8 &&
               job->tile_size <= 4096 && job->max_iterations <= 1000000 && isfinite(job->x) && isfinite(job->y) && job->span > 0;
}

/* How long the point takes to escape, as a real number so that the colours have no steps; 0: it does not escape. */
static double escape_time(double cx, double cy, uint32_t max_iterations) {
        double x = 0, y = 0, xx = 0, yy = 0;
        uint32_t n;

        for (n = 0; n < max_iterations; n++) {
                y = 2 * x * y + cy;
                x = xx - yy + cx;
                xx = x * x;
                yy = y * y;
                if (xx + yy > 1 << 16)
                        return n + 2 - log2(log2(xx + yy) / 2);
        }
        return 0;
}

/* Night blue over blue and white to orange and back, once around for each e-fold of the escape time. */
static void add_color(double time, double sum[3]) {
        static const struct {
                double position, color[3];
        } stops[] = {
                { 0.00, { 0, 7, 100 } },   { 0.16, { 32, 107, 203 } }, { 0.42, { 237, 255, 255 } },
                { 0.6425, { 255, 170, 0 } }, { 0.8575, { 0, 2, 0 } },    { 1.00, { 0, 7, 100 } },
        };
        double position, part;
        size_t i = 0;

        if (time <= 0) /* inside: black */
                return;
        position = log(time + 1);
        position -= floor(position);
        while (position > stops[i + 1].position)
                i++;
        part = (position - stops[i].position) / (stops[i + 1].position - stops[i].position);
        part = part * part * (3 - 2 * part);
        for (int k = 0; k < 3; k++)
                sum[k] += stops[i].color[k] + part * (stops[i + 1].color[k] - stops[i].color[k]);
}

void job_compute(const Job *job, Area area, uint8_t *pixels) {
        double step = job->span / job->width, fine = step / SAMPLES;
        double left = job->x - job->span / 2, top = job->y + step * job->height / 2;

        for (uint32_t row = area.y; row < area.y + area.height; row++)
                for (uint32_t column = area.x; column < area.x + area.width; column++) {
                        double sum[3] = {};

                        for (int i = 0; i < SAMPLES * SAMPLES; i++)
                                add_color(escape_time(left + step * column + fine * (i % SAMPLES + 0.5),
                                                      top - step * row - fine * (i / SAMPLES + 0.5), job->max_iterations),
                                          sum);
                        for (int k = 0; k < 3; k++)
                                *pixels++ = (uint8_t) (sum[k] / (SAMPLES * SAMPLES) + 0.5);
                }
}

int write_png(const char *path, const uint8_t *pixels, uint32_t width, uint32_t height) {
        png_image image = { .version = PNG_IMAGE_VERSION, .width = width, .height = height, .format = PNG_FORMAT_RGB };
        FILE *file;
        int written;

        file = fopen(path, "wbe");
        if (!file)
                return -errno;
        written = png_image_write_to_stdio(&image, file, 0, pixels, 0, NULL);
        png_image_free(&image);
        if (fclose(file) != 0)
                return -errno;
        return written ? 0 : -EIO;
}
