// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * unix_ioctl() of Linux 6.1 with the check whose absence is CVE-2026-52928: only a stream has
 * a mark. Compiled by function-cve.sh with the headers of the kernel that it goes into; written
 * anew from what the kernel's function does.
 */
#include <linux/capability.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/net.h>
#include <linux/skbuff.h>
#include <linux/sockios.h>
#include <linux/termios.h>
#include <linux/uaccess.h>
#include <linux/un.h>
#include <net/af_unix.h>
#include <net/sock.h>

static int at_mark(struct sock *sk)
{
	struct unix_sock *u = unix_sk(sk);
	struct sk_buff *first, *next, *oob;
	int mark = 0;

	mutex_lock(&u->iolock);
	first = skb_peek(&sk->sk_receive_queue);
	oob = READ_ONCE(u->oob_skb);
	if (first) {
		next = skb_peek_next(first, &sk->sk_receive_queue);
		mark = first == oob || (first->len == UNIXCB(first).consumed && (!oob || next == oob));
	}
	mutex_unlock(&u->iolock);
	return mark;
}

/* The file that a socket is bound to, as an O_PATH descriptor. */
static int open_file(struct sock *sk)
{
	struct path path;
	struct file *file;
	int fd;

	if (!ns_capable(sock_net(sk)->user_ns, CAP_NET_ADMIN))
		return -EPERM;
	if (!smp_load_acquire(&unix_sk(sk)->addr))
		return -ENOENT;
	path = unix_sk(sk)->path;
	if (!path.dentry)
		return -ENOENT;
	path_get(&path);
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd >= 0) {
		file = dentry_open(&path, O_PATH, current_cred());
		if (IS_ERR(file)) {
			put_unused_fd(fd);
			fd = PTR_ERR(file);
		} else {
			fd_install(fd, file);
		}
	}
	path_put(&path);
	return fd;
}

int unix_ioctl_fixed(struct socket *sock, unsigned int cmd, unsigned long arg);
int unix_ioctl_fixed(struct socket *sock, unsigned int cmd, unsigned long arg)
{
	struct sock *sk = sock->sk;
	long answer;

	switch (cmd) {
	case SIOCOUTQ:
		answer = unix_outq_len(sk);
		break;
	case SIOCINQ:
		answer = unix_inq_len(sk);
		if (answer < 0)
			return answer;
		break;
	case SIOCUNIXFILE:
		return open_file(sk);
	case SIOCATMARK:
		if (sk->sk_type != SOCK_STREAM)
			return -EOPNOTSUPP;
		answer = at_mark(sk);
		break;
	default:
		return -ENOIOCTLCMD;
	}
	return put_user((int)answer, (int __user *)arg);
}
