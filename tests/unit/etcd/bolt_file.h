#ifndef KUBEDR_TESTS_UNIT_ETCD_BOLT_FILE_H
#define KUBEDR_TESTS_UNIT_ETCD_BOLT_FILE_H

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/sha256.h"

namespace kubedr::test {

inline void put(Bytes& to, std::size_t at, std::uint64_t value, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) to[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
}

struct Row {
  std::string key;
  std::string value;
  bool is_bucket = false;
};

// A leaf page, as long as its rows need or, if `size` is given, exactly so long.
inline Bytes leaf_page(std::uint64_t id, const std::vector<Row>& rows, std::size_t size = 0,
                       std::uint32_t overflow = 0) {
  Bytes page(16 + 16 * rows.size());
  put(page, 0, id, 8);
  put(page, 8, 0x02, 2);
  put(page, 10, rows.size(), 2);
  put(page, 12, overflow, 4);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::size_t element = 16 + 16 * i;
    put(page, element, rows[i].is_bucket ? 1 : 0, 4);
    put(page, element + 4, page.size() - element, 4);
    put(page, element + 8, rows[i].key.size(), 4);
    put(page, element + 12, rows[i].value.size(), 4);
    append(page, as_bytes(rows[i].key));
    append(page, as_bytes(rows[i].value));
  }
  if (size != 0) page.resize(size);
  return page;
}

inline Bytes branch_page(std::uint64_t id,
                         const std::vector<std::pair<std::string, std::uint64_t>>& children,
                         std::size_t size) {
  Bytes page(16 + 16 * children.size());
  put(page, 0, id, 8);
  put(page, 8, 0x01, 2);
  put(page, 10, children.size(), 2);
  for (std::size_t i = 0; i < children.size(); ++i) {
    const std::size_t element = 16 + 16 * i;
    put(page, element, page.size() - element, 4);
    put(page, element + 4, children[i].first.size(), 4);
    put(page, element + 8, children[i].second, 8);
    append(page, as_bytes(children[i].first));
  }
  page.resize(size);
  return page;
}

inline Bytes meta_page(std::uint64_t id, std::uint32_t page_size, std::uint64_t root,
                       std::uint64_t high_water, std::uint64_t txid) {
  Bytes page(page_size);
  put(page, 0, id, 8);
  put(page, 8, 0x04, 2);
  put(page, 16, 0xED0CDAED, 4);
  put(page, 20, 2, 4);
  put(page, 24, page_size, 4);
  put(page, 32, root, 8);
  put(page, 48, ~std::uint64_t{0}, 8);
  put(page, 56, high_water, 8);
  put(page, 64, txid, 8);
  std::uint64_t hash = 0xcbf29ce484222325;
  for (std::size_t i = 16; i < 72; ++i) hash = (hash ^ page[i]) * 0x100000001b3;
  put(page, 72, hash, 8);
  return page;
}

// Value of a bucket with a page of its own.
inline std::string bucket_at(std::uint64_t root) {
  Bytes value(16);
  put(value, 0, root, 8);
  return std::string(as_text(value));
}

// Value of a bucket inside its parent.
inline std::string inline_bucket(const std::vector<Row>& rows) {
  Bytes value(16);
  append(value, leaf_page(0, rows));
  return std::string(as_text(value));
}

// Key of a row of etcd's bucket "key".
inline std::string revision_key(std::uint64_t main, std::uint64_t sub = 0, bool tombstone = false) {
  std::string key(17, '_');
  for (std::size_t i = 0; i < 8; ++i) {
    key[i] = static_cast<char>(main >> (56 - 8 * i));
    key[9 + i] = static_cast<char>(sub >> (56 - 8 * i));
  }
  return tombstone ? key + 't' : key;
}

inline Bytes concatenated(const std::vector<Bytes>& pages) {
  Bytes all;
  for (const Bytes& page : pages) append(all, page);
  return all;
}

// A db of four pages: two metas, the root with its buckets inline, one leaf with revisions.
inline Bytes small_db(std::uint32_t page_size = 4096) {
  const std::string members = inline_bucket(
      {{"8e9e05c52164694d",
        R"({"id":10276657743932975437,"peerURLs":["https://10.0.0.1:2380"],"name":"one",)"
        R"("clientURLs":["https://10.0.0.1:2379","https://127.0.0.1:2379"]})"},
       {"91bc3c398fb3c146", R"({"id":1,"peerURLs":["https://10.0.0.2:2380"],"isLearner":true})"},
       {"fd422379fda50e48", R"({"id":2,"peerURLs":["https://10.0.0.3:2380"],"name":"gone"})"}});
  return concatenated(
      {meta_page(0, page_size, 2, 4, 8), meta_page(1, page_size, 2, 4, 7),
       leaf_page(2,
                 {{"alarm", inline_bucket({}), true},
                  {"cluster", inline_bucket({{"clusterVersion", "3.6.0"}}), true},
                  {"key", bucket_at(3), true},
                  {"members", members, true},
                  {"members_removed", inline_bucket({{"fd422379fda50e48", "removed"}}), true}},
                 page_size),
       leaf_page(
           3,
           {{revision_key(2), "a"}, {revision_key(62, 1), "b"}, {revision_key(362, 0, true), "c"}},
           page_size)});
}

// What etcd sends for a db: its bytes and their SHA-256.
inline Bytes snapshot_of(Bytes db) {
  const Digest digest = sha256(db);
  append(db, digest);
  return db;
}

}  // namespace kubedr::test

#endif  // KUBEDR_TESTS_UNIT_ETCD_BOLT_FILE_H
