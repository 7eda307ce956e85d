/* Drives libmodsecurity over pipes and times it inside itself, for comparisons.
 *
 * cc -O2 -o modsecurity modsecurity.c -l:libmodsecurity.so.3
 * modsecurity FILE...     loads rule files, then answers requests on standard input.
 *
 * A request: one byte, 'E' to evaluate or 'T' to time; for 'T' a count. Then texts, each with its length: method, uri, version,
 * the number of fields and their names and values, the body, the response's status, its fields and its body. Numbers are four
 * bytes, little-endian. The answer to 'E' is a byte, whether it was stopped, and a text, the log; to 'T' the nanoseconds of all
 * rounds in eight bytes.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct { int status; int pause; char *url; char *log; int disruptive; } intervention;
void *msc_init(void);
void msc_set_connector_info(void *, const char *);
typedef void (*log_cb)(void *, const void *);
void msc_set_log_cb(void *, log_cb);
void *msc_create_rules_set(void);
int msc_rules_add_file(void *, const char *, const char **);
void *msc_new_transaction(void *, void *, void *);
int msc_process_connection(void *, const char *, int, const char *, int);
int msc_process_uri(void *, const char *, const char *, const char *);
int msc_add_n_request_header(void *, const unsigned char *, size_t, const unsigned char *, size_t);
int msc_process_request_headers(void *);
int msc_append_request_body(void *, const unsigned char *, size_t);
int msc_process_request_body(void *);
int msc_add_n_response_header(void *, const unsigned char *, size_t, const unsigned char *, size_t);
int msc_process_response_headers(void *, int, const char *);
int msc_append_response_body(void *, const unsigned char *, size_t);
int msc_process_response_body(void *);
int msc_process_logging(void *);
int msc_intervention(void *, intervention *);
void msc_transaction_cleanup(void *);

typedef struct { uint32_t length; unsigned char *text; } text;
typedef struct { uint32_t count; text *names, *values; } fields;
typedef struct { text method, uri, version, body, response; fields headers, response_headers; uint32_t status; } request;

static char *log_text;
static size_t log_length, log_size;

static void on_log(void *data, const void *message) {
  (void)data;
  size_t length = strlen(message);
  if (log_length + length + 2 > log_size) {
    log_size = (log_length + length + 2) * 2;
    log_text = realloc(log_text, log_size);
  }
  memcpy(log_text + log_length, message, length);
  log_length += length;
  log_text[log_length++] = '\n';
}

static void need(void *to, size_t length) {
  if (length > 0 && fread(to, 1, length, stdin) != length) exit(0);
}

static uint32_t read_number(void) {
  unsigned char bytes[4];
  need(bytes, 4);
  return bytes[0] | bytes[1] << 8 | bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static text read_text(void) {
  text t;
  t.length = read_number();
  t.text = malloc(t.length + 1);
  need(t.text, t.length);
  t.text[t.length] = 0;
  return t;
}

static fields read_fields(void) {
  fields f;
  f.count = read_number();
  f.names = calloc(f.count + 1, sizeof(text));
  f.values = calloc(f.count + 1, sizeof(text));
  for (uint32_t i = 0; i < f.count; i++) {
    f.names[i] = read_text();
    f.values[i] = read_text();
  }
  return f;
}

static void free_fields(fields f) {
  for (uint32_t i = 0; i < f.count; i++) {
    free(f.names[i].text);
    free(f.values[i].text);
  }
  free(f.names);
  free(f.values);
}

static int stopped(void *transaction) {
  intervention it = {200, 0, NULL, NULL, 0};
  int found = msc_intervention(transaction, &it) && it.disruptive;
  free(it.url);
  free(it.log);
  return found;
}

static int evaluate(void *engine, void *rules, const request *r) {
  int found = 0;
  void *t = msc_new_transaction(engine, rules, NULL);
  msc_process_connection(t, "127.0.0.1", 40000, "127.0.0.1", 80);
  msc_process_uri(t, (char *)r->uri.text, (char *)r->method.text, (char *)r->version.text);
  for (uint32_t i = 0; i < r->headers.count; i++)
    msc_add_n_request_header(t, r->headers.names[i].text, r->headers.names[i].length, r->headers.values[i].text,
                             r->headers.values[i].length);
  msc_process_request_headers(t);
  found = stopped(t);
  if (!found) {
    if (r->body.length > 0) msc_append_request_body(t, r->body.text, r->body.length);
    msc_process_request_body(t);
    found = stopped(t);
  }
  if (!found && r->status > 0) {
    for (uint32_t i = 0; i < r->response_headers.count; i++)
      msc_add_n_response_header(t, r->response_headers.names[i].text, r->response_headers.names[i].length,
                                r->response_headers.values[i].text, r->response_headers.values[i].length);
    msc_process_response_headers(t, (int)r->status, "HTTP/1.1");
    found = stopped(t);
    if (!found) {
      if (r->response.length > 0) msc_append_response_body(t, r->response.text, r->response.length);
      msc_process_response_body(t);
      found = stopped(t);
    }
  }
  msc_process_logging(t);
  msc_transaction_cleanup(t);
  return found;
}

static void write_number(uint64_t number, int bytes) {
  for (int i = 0; i < bytes; i++) putchar((int)(number >> (8 * i) & 255));
}

int main(int count, char **files) {
  void *engine = msc_init();
  msc_set_connector_info(engine, "palisade comparison");
  msc_set_log_cb(engine, on_log);
  void *rules = msc_create_rules_set();
  struct timespec from, to;
  clock_gettime(CLOCK_MONOTONIC, &from);
  for (int i = 1; i < count; i++) {
    const char *error = NULL;
    if (msc_rules_add_file(rules, files[i], &error) < 0) {
      fprintf(stderr, "%s: %s\n", files[i], error ? error : "does not load");
      return 1;
    }
  }
  clock_gettime(CLOCK_MONOTONIC, &to);
  write_number((uint64_t)((to.tv_sec - from.tv_sec) * 1000000000LL + to.tv_nsec - from.tv_nsec), 8);
  fflush(stdout);
  for (;;) {
    unsigned char kind;
    need(&kind, 1);
    uint32_t rounds = kind == 'T' ? read_number() : 1;
    request r;
    r.method = read_text();
    r.uri = read_text();
    r.version = read_text();
    r.headers = read_fields();
    r.body = read_text();
    r.status = read_number();
    r.response_headers = read_fields();
    r.response = read_text();
    int found = 0;
    log_length = 0;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (uint32_t i = 0; i < rounds; i++) {
      log_length = 0;
      found = evaluate(engine, rules, &r);
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    if (kind == 'T') {
      write_number((uint64_t)((to.tv_sec - from.tv_sec) * 1000000000LL + to.tv_nsec - from.tv_nsec), 8);
    } else {
      write_number((uint64_t)found, 1);
      write_number(log_length, 4);
      fwrite(log_text, 1, log_length, stdout);
    }
    fflush(stdout);
    free(r.method.text);
    free(r.uri.text);
    free(r.version.text);
    free(r.body.text);
    free(r.response.text);
    free_fields(r.headers);
    free_fields(r.response_headers);
  }
}
