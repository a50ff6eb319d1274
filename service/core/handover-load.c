/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Counters, the samples that rates are made of, and the histogram, of which most buckets are empty. */

#include <errno.h>

#include "service/core/handover-load.h"

static void put_counters(RecordWriter *w, const LoadCounters *c) {
        record_put_u64(w, c->messages_in);
        record_put_u64(w, c->messages_out);
        record_put_u64(w, c->bytes_in);
        record_put_u64(w, c->bytes_out);
        record_put_u64(w, c->busy_usec);
}

static void save_samples(RecordWriter *w, const Load *load, uint64_t now) {
        for (unsigned age = load->n_samples; age-- > 0;) {
                unsigned i = (load->newest + LOAD_N_SAMPLES - age) % LOAD_N_SAMPLES;

                record_begin(w, RECORD_LOAD_SAMPLE);
                record_put_age(w, now, load->sample_times[i]);
                put_counters(w, &load->samples[i]);
                record_end(w);
        }
}

static void save_routing_time(RecordWriter *w, const Histogram *h) {
        record_begin(w, RECORD_ROUTING_TIME);
        record_put_u8(w, HISTOGRAM_SUB_BITS);
        record_put_u8(w, HISTOGRAM_MAX_BITS);
        record_put_u64(w, h->max);
        for (uint16_t i = 0; i < HISTOGRAM_N_BUCKETS; i++)
                if (h->counts[i] > 0) {
                        record_put_u16(w, i);
                        record_put_u64(w, h->counts[i]);
                }
        record_end(w);
}

void handover_save_load(RecordWriter *w, const Load *load, uint64_t now) {
        record_begin(w, RECORD_LOAD);
        record_put_u64(w, load->bounces);
        record_put_u64(w, load->skipped_broadcasts);
        record_put_u64(w, load->protocol_errors);
        put_counters(w, &load->counters);
        record_end(w);
        save_samples(w, load, now);
        save_routing_time(w, &load->routing);
}

static LoadCounters read_counters(WireReader *in) {
        LoadCounters c;

        c.messages_in = wire_read_u64(in);
        c.messages_out = wire_read_u64(in);
        c.bytes_in = wire_read_u64(in);
        c.bytes_out = wire_read_u64(in);
        c.busy_usec = wire_read_u64(in);
        return c;
}

int handover_restore_load(WireReader *in, Load *load) {
        load->bounces = wire_read_u64(in);
        load->skipped_broadcasts = wire_read_u64(in);
        load->protocol_errors = wire_read_u64(in);
        load->counters = read_counters(in);
        load->n_samples = 0; /* those that follow are all that there are */
        return in->failed ? -EBADMSG : 0;
}

int handover_restore_load_sample(WireReader *in, Load *load, uint64_t now) {
        uint64_t when = record_read_age(in, now);
        LoadCounters c = read_counters(in);

        if (in->failed || (load->n_samples > 0 && when < load->sample_times[load->newest]))
                return -EBADMSG;
        load->newest = load->n_samples > 0 ? (load->newest + 1) % LOAD_N_SAMPLES : 0;
        load->n_samples += load->n_samples < LOAD_N_SAMPLES;
        load->sample_times[load->newest] = when;
        load->samples[load->newest] = c;
        return 0;
}

int handover_restore_routing_time(WireReader *in, Histogram *h) {
        if (wire_read_u8(in) != HISTOGRAM_SUB_BITS || wire_read_u8(in) != HISTOGRAM_MAX_BITS)
                return in->failed ? -EBADMSG : 0; /* of other buckets: begun anew */
        h->max = wire_read_u64(in);
        while (record_get_rest(in) > 0) {
                uint16_t i = wire_read_u16(in);
                uint64_t n = wire_read_u64(in);

                if (in->failed || i >= HISTOGRAM_N_BUCKETS)
                        return -EBADMSG;
                h->counts[i] += n;
                h->n += n;
        }
        return in->failed ? -EBADMSG : 0;
}
