/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The figures of stats.h as text for Prometheus and what reads its formats: OpenMetrics 1.0, or the older
 * text format 0.0.4, which differ in names of families and in the end.
 * Spec: OpenMetrics (github.com/prometheus/OpenMetrics), prometheus.io/docs/instrumenting/exposition_formats.
 */
#ifndef VMPOKE_CONTROL_METRICS_H
#define VMPOKE_CONTROL_METRICS_H

#include <stdbool.h>
#include <stddef.h>

struct daemon;
struct peer;

#define METRICS_TYPE_OPEN "application/openmetrics-text; version=1.0.0; charset=utf-8"
#define METRICS_TYPE_TEXT "text/plain; version=0.0.4; charset=utf-8"

/* What this peer may see, malloc'ed; -ENOMEM. */
int metrics_format(const struct daemon *d, const struct peer *peer, bool open_metrics, char **ret, size_t *ret_len);

#endif
