/* The two ends of a measured proxy, in one thread: a backend, and the clients that reach it through the proxy.
 *
 * Prints the backend's port, then obeys lines on stdin, each answered by one line of JSON:
 *   echo PORT CONNECTIONS SIZE SECONDS GREEDY   messages back and forth; GREEDY more connections send at full speed
 *   short PORT CONNECTIONS SECONDS              connect, one message back and forth, the backend closes
 *   bulk PORT CONNECTIONS SECONDS               full speed, every other connection upwards
 *   open PORT CONNECTIONS                       connections that stay, after one message back and forth
 *   close                                       ends those
 *
 * The first byte that a client sends tells the backend what to be: 'e' echo, 'o' echo once and close, 's' sink, 'd' source.
 * It has to cost less than what it measures: bytes are sent from a file in memory and dropped unread (MSG_TRUNC), so that
 * in bulk it copies nothing, where a proxy copies twice.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 1 << 20, PIECE = 1 << 18, EVENTS = 128, LATENCIES = 1 << 22, FILES = 1 << 20, RAMP = 64 };

struct conn {
    char role;        /* 0 unused, 'L' listener, 'B' backend, 'C' client */
    char kind;        /* what the first byte said */
    uint32_t got;     /* bytes of the present message */
    uint64_t sent_at; /* ns, of the present message */
};

static struct conn conns[FILES];
static int highest, epoll, block, clients_open, backends_open;
static char buffer[PIECE];

static struct {
    int port, size, stay;
    uint64_t counts_from, ends;
    uint64_t messages, connections, failed, bytes, held;
    uint32_t *latencies; /* ns / 10 */
    size_t timed;
} work;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

static int counts(uint64_t now) { return now >= work.counts_from && now < work.ends; }

static void watch(int fd, char role, char kind, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    conns[fd] = (struct conn){.role = role, .kind = kind};
    if (fd > highest) highest = fd;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
}

static void rewatch(int fd, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event)) die("epoll_ctl");
}

static void drop(int fd) {
    if (conns[fd].role == 'C') clients_open--;
    if (conns[fd].role == 'B') backends_open--;
    conns[fd].role = 0;
    close(fd);
}

static void drop_all(char role) {
    for (int fd = 0; fd <= highest; fd++)
        if (conns[fd].role == role) drop(fd);
}

static int no_delay(int fd) {
    int one = 1;
    return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static struct sockaddr_in loopback(int port) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int listen_somewhere(void) {
    struct sockaddr_in address = loopback(0);
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(fd, (void *)&address, length) || listen(fd, 4096)) die("listen");
    getsockname(fd, (void *)&address, &length);
    watch(fd, 'L', 0, EPOLLIN);
    return ntohs(address.sin_port);
}

static void dial(char kind) {
    struct sockaddr_in address = loopback(work.port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0) die("socket");
    no_delay(fd);
    if (connect(fd, (void *)&address, sizeof address) && errno != EINPROGRESS) die("connect");
    watch(fd, 'C', kind, EPOLLOUT);
    clients_open++;
}

static void accept_all(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        no_delay(fd);
        watch(fd, 'B', 0, EPOLLIN);
        backends_open++;
    }
}

static void send_message(int fd, uint64_t now) {
    memset(buffer, conns[fd].kind, work.size);
    conns[fd].got = 0;
    conns[fd].sent_at = now;
    if (send(fd, buffer, work.size, MSG_NOSIGNAL) != work.size) work.failed++;
}

static int pour(int fd) {
    off_t from = 0;
    return sendfile(fd, block, &from, PIECE) >= 0 || errno == EAGAIN;
}

/* One turn of a receiver at full speed; 0 at the end. */
static int drain(int fd, uint64_t now) {
    ssize_t n = recv(fd, NULL, PIECE, MSG_TRUNC);
    if (n > 0 && counts(now)) work.bytes += n;
    return n > 0 || (n < 0 && errno == EAGAIN);
}

static void replied(int fd, uint64_t now) {
    struct conn *c = &conns[fd];
    if (counts(now)) {
        work.messages++;
        if (work.timed < LATENCIES) work.latencies[work.timed++] = (now_ns() - c->sent_at) / 10;
    }
    if (c->kind == 'e' && work.stay) {
        work.held++;
        rewatch(fd, 0);
    } else if (c->kind == 'e') {
        send_message(fd, now);
    }
}

static void client_ended(int fd, uint64_t now) {
    int whole = conns[fd].kind == 'o' && conns[fd].got == (uint32_t)work.size;
    int again = conns[fd].kind == 'o' && now < work.ends;
    if (!whole) work.failed++;
    else if (counts(now)) work.connections++;
    drop(fd);
    if (again) dial('o');
}

static void client_connected(int fd, uint64_t now) {
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error) {
        work.failed++;
        drop(fd);
        return;
    }
    char kind = conns[fd].kind;
    if (kind == 'd') send(fd, "d", 1, MSG_NOSIGNAL);
    if (kind == 's') send(fd, "s", 1, MSG_NOSIGNAL);
    if (kind == 'e' || kind == 'o') send_message(fd, now);
    rewatch(fd, kind == 's' ? EPOLLOUT : EPOLLIN);
}

static void client_receives(int fd, uint64_t now) {
    struct conn *c = &conns[fd];
    if (c->kind == 'd') {
        if (!drain(fd, now)) client_ended(fd, now);
        return;
    }
    ssize_t n = recv(fd, buffer, sizeof buffer, 0);
    if (n > 0 && (c->got += n) >= (uint32_t)work.size) replied(fd, now);
    if (n == 0 || (n < 0 && errno != EAGAIN)) client_ended(fd, now);
}

static void client(int fd, uint32_t events, uint64_t now) {
    if (events & EPOLLOUT && conns[fd].sent_at == 0) {
        conns[fd].sent_at = now;
        client_connected(fd, now);
    } else if (events & EPOLLOUT) {
        if (!pour(fd)) client_ended(fd, now);
    } else {
        client_receives(fd, now);
    }
}

static void backend_echoes(int fd, char *data, ssize_t n) {
    struct conn *c = &conns[fd];
    if (send(fd, data, n, MSG_NOSIGNAL) != n) work.failed++;
    c->got += n;
    if (c->kind == 'o' && c->got >= (uint32_t)work.size) drop(fd);
}

static void backend(int fd, uint32_t events, uint64_t now) {
    struct conn *c = &conns[fd];
    if (c->kind == 's') {
        if (!drain(fd, now)) drop(fd);
    } else if (c->kind == 'd') {
        if (!(events & EPOLLOUT) || !pour(fd)) drop(fd);
    } else {
        ssize_t n = recv(fd, buffer, sizeof buffer, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            drop(fd);
        } else if (n > 0) {
            if (!c->kind) c->kind = buffer[0];
            if (c->kind == 'd') rewatch(fd, EPOLLOUT);
            if (c->kind == 'e' || c->kind == 'o') backend_echoes(fd, buffer, n);
        }
    }
}

static void turn(int wait_ms) {
    struct epoll_event events[EVENTS];
    int n = epoll_wait(epoll, events, EVENTS, wait_ms);
    uint64_t now = now_ns();
    for (int i = 0; i < n; i++) {
        int fd = events[i].data.fd;
        char role = conns[fd].role;
        if (role == 'L') accept_all(fd);
        if (role == 'B') backend(fd, events[i].events, now);
        if (role == 'C') client(fd, events[i].events, now);
    }
}

static void begin(int port, int size, double seconds) {
    uint32_t *latencies = work.latencies;
    uint64_t now = now_ns();
    memset(&work, 0, sizeof work);
    work.latencies = latencies;
    work.port = port;
    work.size = size;
    work.counts_from = now + (uint64_t)(seconds * 0.1e9);
    work.ends = now + (uint64_t)(seconds * 1e9);
}

static void finish(void) {
    drop_all('C');
    uint64_t patience = now_ns() + 300000000u;
    while (backends_open && now_ns() < patience) turn(10);
    drop_all('B');
}

static void go_on(void) {
    while (now_ns() < work.ends) turn(10);
    finish();
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double percentile(double share) {
    return work.timed ? work.latencies[(size_t)(share * (work.timed - 1))] * 1e-8 : 0;
}

static void report(void) {
    qsort(work.latencies, work.timed, sizeof *work.latencies, by_size);
    double seconds = (work.ends - work.counts_from) * 1e-9;
    printf("{\"seconds\": %.6f, \"messages\": %lu, \"connections\": %lu, \"bytes\": %lu, \"failed\": %lu, ", seconds,
           work.messages, work.connections, work.bytes, work.failed);
    printf("\"held\": %lu, \"p50\": %.9f, \"p99\": %.9f}\n", work.held, percentile(0.50), percentile(0.99));
    fflush(stdout);
}

static void hold(int connections) {
    uint64_t patience = now_ns() + 60000000000u;
    int dialled = 0;
    work.stay = 1;
    while (work.held + work.failed < (uint64_t)connections && now_ns() < patience) {
        while (dialled < connections && dialled - (int)(work.held + work.failed) < RAMP) dial('e'), dialled++;
        turn(10);
    }
}

static void obey(const char *line) {
    int port, connections, size, greedy;
    double seconds;
    if (sscanf(line, "echo %d %d %d %lf %d", &port, &connections, &size, &seconds, &greedy) == 5) {
        begin(port, size, seconds);
        for (int i = 0; i < connections; i++) dial('e');
        for (int i = 0; i < greedy; i++) dial('s');
        go_on();
    } else if (sscanf(line, "short %d %d %lf", &port, &connections, &seconds) == 3) {
        begin(port, 64, seconds);
        for (int i = 0; i < connections; i++) dial('o');
        go_on();
    } else if (sscanf(line, "bulk %d %d %lf", &port, &connections, &seconds) == 3) {
        begin(port, 64, seconds);
        for (int i = 0; i < connections; i++) dial(i % 2 ? 'd' : 's');
        go_on();
    } else if (sscanf(line, "open %d %d", &port, &connections) == 2) {
        begin(port, 64, 60);
        hold(connections);
    } else {
        finish();
    }
    report();
}

int main(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < FILES ? files.rlim_max : FILES;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    epoll = epoll_create1(0);
    block = memfd_create("block", 0);
    memset(buffer, 's', sizeof buffer);
    for (int i = 0; i < BLOCK / PIECE; i++)
        if (write(block, buffer, PIECE) != PIECE) die("memfd");
    work.latencies = malloc(LATENCIES * sizeof *work.latencies);
    printf("%d\n", listen_somewhere());
    fflush(stdout);
    char line[256];
    while (fgets(line, sizeof line, stdin)) obey(line);
    return 0;
}
