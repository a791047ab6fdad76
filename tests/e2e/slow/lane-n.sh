#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The long stress test on lane n: nested SVM, debug-register traps, CPUs in parallel.
. "$(dirname "$0")/lane.sh"
lane_stress n 1800 --cpus 2
