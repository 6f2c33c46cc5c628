// SPDX-License-Identifier: MIT OR Apache-2.0
//
// rdma WHAT FD OFFSET SIZE: registers memory with RDMA and transfers it.
//
// WHAT is `read`: a mapping, which is sent to memory of the program's own; `write`: the same, and what was sent is sent
// back with every bit inverted; `buffer`: FD is a dma-buf to register. Prints `done`, or `errno NUMBER` where the memory
// is not taken. All else that fails ends the program with an error.

#include <errno.h>
#include <infiniband/verbs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CHECK(what) \
	do { \
		if (!(what)) { \
			fprintf(stderr, "line %d: %s: %s\n", __LINE__, #what, strerror(errno)); \
			exit(1); \
		} \
	} while (0)

enum { PORT = 1 };

static union ibv_gid gid;
static int gid_index;

/* The first address that is IPv4, if there is one. */
static void find_gid(struct ibv_context *context)
{
	struct ibv_port_attr port;

	CHECK(!ibv_query_port(context, PORT, &port));
	for (int index = 0; index < port.gid_tbl_len; index++) {
		static const unsigned char ipv4[12] = { [10] = 0xff, 0xff };

		if (!ibv_query_gid(context, PORT, index, &gid) && !memcmp(gid.raw, ipv4, sizeof(ipv4))) {
			gid_index = index;
			return;
		}
	}
	CHECK(!ibv_query_gid(context, PORT, 0, &gid));
}

static void connect_to(struct ibv_qp *qp, uint32_t peer)
{
	struct ibv_qp_attr init = {
		.qp_state = IBV_QPS_INIT,
		.port_num = PORT,
		.qp_access_flags = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE,
	};
	struct ibv_qp_attr receive = {
		.qp_state = IBV_QPS_RTR,
		.path_mtu = IBV_MTU_1024,
		.dest_qp_num = peer,
		.max_dest_rd_atomic = 1,
		.min_rnr_timer = 12,
		.ah_attr = {
			.is_global = 1,
			.port_num = PORT,
			.grh = { .dgid = gid, .sgid_index = gid_index, .hop_limit = 1 },
		},
	};
	struct ibv_qp_attr send = {
		.qp_state = IBV_QPS_RTS,
		.timeout = 18,
		.retry_cnt = 7,
		.rnr_retry = 7,
		.max_rd_atomic = 1,
	};

	CHECK(!ibv_modify_qp(qp, &init, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS));
	CHECK(!ibv_modify_qp(qp, &receive,
			     IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
				     IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER));
	CHECK(!ibv_modify_qp(qp, &send,
			     IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN |
				     IBV_QP_MAX_QP_RD_ATOMIC));
}

static struct ibv_qp *make_qp(struct ibv_pd *pd, struct ibv_cq *cq)
{
	struct ibv_qp_init_attr attributes = {
		.send_cq = cq,
		.recv_cq = cq,
		.qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = 4, .max_recv_wr = 4, .max_send_sge = 1, .max_recv_sge = 1 },
	};
	struct ibv_qp *qp = ibv_create_qp(pd, &attributes);

	CHECK(qp);
	return qp;
}

/* RDMA WRITE of all bytes. */
static void transfer(struct ibv_qp *qp, struct ibv_cq *cq, struct ibv_mr *from, struct ibv_mr *to)
{
	struct ibv_sge piece = { .addr = (uintptr_t)from->addr, .length = from->length, .lkey = from->lkey };
	struct ibv_send_wr work = {
		.sg_list = &piece,
		.num_sge = 1,
		.opcode = IBV_WR_RDMA_WRITE,
		.send_flags = IBV_SEND_SIGNALED,
		.wr.rdma = { .remote_addr = (uintptr_t)to->addr, .rkey = to->rkey },
	};
	struct ibv_send_wr *bad;
	struct ibv_wc done;
	int count;

	CHECK(!ibv_post_send(qp, &work, &bad));
	do
		count = ibv_poll_cq(cq, 1, &done);
	while (count == 0);
	CHECK(count == 1);
	if (done.status != IBV_WC_SUCCESS) {
		fprintf(stderr, "RDMA WRITE: %s\n", ibv_wc_status_str(done.status));
		exit(1);
	}
}

int main(int argc, char **argv)
{
	const int both = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE;

	CHECK(argc == 5);
	int fd = atoi(argv[2]);
	off_t offset = atol(argv[3]);
	size_t size = atol(argv[4]);
	int writes = !strcmp(argv[1], "write");
	struct ibv_device **devices = ibv_get_device_list(NULL);
	CHECK(devices && devices[0]);
	struct ibv_context *context = ibv_open_device(devices[0]);
	CHECK(context);
	struct ibv_pd *pd = ibv_alloc_pd(context);
	CHECK(pd);
	if (!strcmp(argv[1], "buffer")) {
		struct ibv_mr *mr = ibv_reg_dmabuf_mr(pd, 0, size, 0, fd, both);

		if (!mr)
			printf("errno %d\n", errno);
		else
			puts("done");
		return 0;
	}
	int protection = PROT_READ | (writes ? PROT_WRITE : 0);
	unsigned char *memory = mmap(NULL, size, protection, MAP_SHARED, fd, offset);
	if (memory == MAP_FAILED && writes && errno == EACCES) {
		/* So that RDMA itself refuses to write. */
		memory = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, offset);
	}
	CHECK(memory != MAP_FAILED);
	struct ibv_mr *mr = ibv_reg_mr(pd, memory, size, writes ? both : 0);
	if (!mr) {
		printf("errno %d\n", errno);
		return 0;
	}
	unsigned char *own = aligned_alloc(4096, size);
	CHECK(own);
	memset(own, 0, size);
	struct ibv_mr *own_mr = ibv_reg_mr(pd, own, size, both);
	CHECK(own_mr);
	struct ibv_cq *cq = ibv_create_cq(context, 8, NULL, NULL, 0);
	CHECK(cq);
	find_gid(context);
	struct ibv_qp *one = make_qp(pd, cq), *other = make_qp(pd, cq);
	connect_to(one, other->qp_num);
	connect_to(other, one->qp_num);
	transfer(one, cq, mr, own_mr);
	CHECK(!memcmp(memory, own, size));
	if (writes) {
		for (size_t at = 0; at < size; at++)
			own[at] = ~own[at];
		transfer(other, cq, own_mr, mr);
		CHECK(!memcmp(memory, own, size));
	}
	puts("done");
	return 0;
}
