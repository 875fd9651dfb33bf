#include "etcd/verdict.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "etcd/bolt.h"
#include "unit/etcd/bolt_file.h"

namespace kubedr::etcd {
namespace {

using test::meta_page;
using test::small_db;
using test::snapshot_of;

Verified judge(ByteView bytes, std::size_t piece) {
  Verdict verdict;
  while (!bytes.empty()) {
    const std::size_t count = std::min(piece, bytes.size());
    verdict.update(bytes.first(count));
    bytes = bytes.subspan(count);
  }
  return verdict.finish();
}

std::string refusal(ByteView bytes, std::size_t piece = 1 << 20) {
  try {
    judge(bytes, piece);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::corrupt);
    return error.what();
  }
  return "accepted";
}

bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("verdict: a whole snapshot is verified, however it is cut into pieces") {
  const Bytes db = small_db();
  const Bytes snapshot = snapshot_of(db);
  for (const unsigned piece : {1U, 7U, 31U, 32U, 33U, 63U, 64U, 65U, 4096U, 100000U}) {
    CAPTURE(piece);
    const Verified verified = judge(snapshot, piece);
    CHECK(verified.db_size() == 4 * 4096);
    CHECK(verified.page_size() == 4096);
    CHECK(verified.digest() == sha256(db));
  }
}

TEST_CASE("verdict: pages of 64 KiB are as good as those of 4 KiB") {
  const Verified verified = judge(snapshot_of(small_db(65536)), 1000);
  CHECK(verified.page_size() == 65536);
  CHECK(verified.db_size() == 4 * 65536);
}

TEST_CASE("verdict: one flipped bit anywhere is a digest that does not match") {
  const Bytes good = snapshot_of(small_db());
  for (std::size_t at = 0; at < good.size(); at += at < 200 ? 1U : 31U) {
    Bytes bad = good;
    bad[at] ^= 0x10;
    CAPTURE(at);
    CHECK(contains(refusal(bad), "etcd-snapshot.db: sha-256 digest does not match: etcd sent "));
  }
}

TEST_CASE("verdict: a cut or longer snapshot is never accepted") {
  const Bytes good = snapshot_of(small_db());
  for (std::size_t size = 0; size < good.size(); size += 1 + size / 50) {
    CAPTURE(size);
    CHECK(refusal(ByteView(good).first(size)) != "accepted");
  }
  CHECK(contains(refusal(ByteView(good).first(good.size() - 1)), "are not a db and a digest"));
  CHECK(contains(refusal(ByteView(good).first(good.size() - 512)), "digest does not match"));
  Bytes longer = good;
  longer.resize(good.size() + 512);
  CHECK(contains(refusal(longer), "digest does not match"));
}

TEST_CASE("verdict: nothing but a digest is no snapshot") {
  CHECK(contains(refusal(snapshot_of({})), "meta page is damaged"));
}

TEST_CASE("verdict: a damaged meta page is refused though the digest matches") {
  Bytes db = small_db();
  db[16] ^= 1;  // magic
  CHECK(contains(refusal(snapshot_of(db)), "the first meta page is damaged"));
  db = small_db();
  db[4096 + 72] ^= 1;  // checksum
  CHECK(contains(refusal(snapshot_of(db)), "the second meta page is damaged"));
}

TEST_CASE("verdict: a db longer or shorter than its meta pages say is refused") {
  Bytes db = small_db();
  db.resize(5 * 4096);
  CHECK(contains(refusal(snapshot_of(db)), "its meta pages say 4 pages of 4096"));
  db.resize(3 * 4096);
  CHECK(contains(refusal(snapshot_of(db)), "its meta pages say 4 pages of 4096"));
}

TEST_CASE("verdict: the newer meta page counts") {
  const Bytes longer = meta_page(1, 4096, 2, 5, 9);
  Bytes db = small_db();
  std::copy(longer.begin(), longer.end(), db.begin() + 4096);
  CHECK(contains(refusal(snapshot_of(db)), "its meta pages say 5 pages"));
  db.resize(5 * 4096);
  CHECK(judge(snapshot_of(db), 1000).db_size() == 5 * 4096);
}

TEST_CASE("verdict: impossible page sizes are refused") {
  for (const std::uint32_t size : {0U, 1U, 511U, 131072U, 0xFFFFFFFFU}) {
    CAPTURE(size);
    Bytes db = small_db();
    Bytes first = meta_page(0, 4096, 2, 4, 8);
    test::put(first, 24, size, 4);
    std::uint64_t hash = 0xcbf29ce484222325;
    for (std::size_t i = 16; i < 72; ++i) hash = (hash ^ first[i]) * 0x100000001b3;
    test::put(first, 72, hash, 8);
    std::copy(first.begin(), first.end(), db.begin());
    CHECK(contains(refusal(snapshot_of(db)), "impossible page size"));
  }
}

}  // namespace
}  // namespace kubedr::etcd
