# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs inside a lane: is it what it promises to be? Wants kvm-hello among the FILEs.
echo "lane $RIG_LANE: $(uname -r), $(grep -c ^processor /proc/cpuinfo) of $RIG_CPUS CPUs"
[ "$(grep -c ^processor /proc/cpuinfo)" = "$RIG_CPUS" ] || exit 1
[ -f "$RIG_FILES/kvm-hello" ] || exit 1
kvm-hello
status=$?
case $RIG_LANE in
t) [ $status = 77 ] ;;
n) [ $status = 0 ] && grep -q '^flags.* svm' /proc/cpuinfo && [ -d /sys/module/kvm_amd ] ;;
v) [ $status = 0 ] && grep -q '^flags.* vmx' /proc/cpuinfo && [ -d /sys/module/kvm_intel ] ;;
*) [ $status = 0 ] ;;
esac
