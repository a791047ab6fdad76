#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a transaction costs vCPUs that have nothing to do with it, on genuine KVM: AMD's
# (lane n) and Intel's (lane v), each with a CPU for the engine and one for the vCPU.
. "$(dirname "$0")/lane.sh"
lane_run exits-in-lane.sh n 600 --cpus 2
lane_run exits-in-lane.sh v 1500 --cpus 2
finish
