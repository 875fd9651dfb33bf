#include "etcd/bolt.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "base/limits.h"
#include "support/temp_dir.h"
#include "unit/etcd/bolt_file.h"

namespace kubedr::etcd {
namespace {

using test::branch_page;
using test::bucket_at;
using test::concatenated;
using test::inline_bucket;
using test::leaf_page;
using test::meta_page;
using test::put;
using test::revision_key;
using test::Row;
using test::small_db;
using test::TempDir;

DatabaseInfo inspect(ByteView bytes) {
  const TempDir folder;
  return inspect_database(folder.write("db", as_text(bytes)));
}

std::string refusal(ByteView bytes) {
  try {
    inspect(bytes);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::corrupt);
    return error.what();
  }
  return "accepted";
}

bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

// Metas, a root whose one bucket "key" is at page 3, and these pages from 3 on.
Bytes db_with(const std::vector<Bytes>& pages) {
  const std::uint64_t count = 3 + pages.size();
  return concatenated({meta_page(0, 4096, 2, count, 8), meta_page(1, 4096, 2, count, 7),
                       leaf_page(2, {{"key", bucket_at(3), true}}, 4096), concatenated(pages)});
}

TEST_CASE("bolt: revision, members and version of a db") {
  const DatabaseInfo info = inspect(small_db());
  CHECK(info.revision == 362);
  CHECK(info.cluster_version == "3.6.0");
  REQUIRE(info.members.size() == 2);  // the third one was removed
  CHECK(info.members[0].id == 0x8e9e05c52164694d);
  CHECK(info.members[0].name == "one");
  CHECK(info.members[0].peer_urls == std::vector<std::string>{"https://10.0.0.1:2380"});
  CHECK_FALSE(info.members[0].is_learner);
  CHECK(info.members[1].is_learner);
  CHECK(info.members[1].name.empty());
}

TEST_CASE("bolt: a digest behind the db, other page sizes and an inline bucket 'key' are fine") {
  CHECK(inspect(test::snapshot_of(small_db())).revision == 362);
  CHECK(inspect(small_db(65536)).revision == 362);
  const Bytes tiny =
      concatenated({meta_page(0, 4096, 2, 3, 1), meta_page(1, 4096, 2, 3, 0),
                    leaf_page(2, {{"key", inline_bucket({{revision_key(5), "x"}}), true}}, 4096)});
  CHECK(inspect(tiny).revision == 5);
  CHECK(inspect(tiny).members.empty());
}

TEST_CASE("bolt: an empty bucket 'key' has no revision") {
  CHECK(inspect(db_with({leaf_page(3, {}, 4096)})).revision == 0);
}

TEST_CASE("bolt: a row with an empty value counts as the last revision") {
  const std::vector<Row> rows{{revision_key(7), "x"}, {revision_key(1000000007), ""}};
  CHECK(inspect(db_with({leaf_page(3, rows, 4096)})).revision == 1000000007);
}

TEST_CASE("bolt: the last revision is found through branches and overflow pages") {
  const std::string big(5000, 'v');
  const Bytes db =
      db_with({branch_page(3, {{revision_key(2), 4}, {revision_key(9), 5}}, 4096),
               leaf_page(4, {{revision_key(2), "a"}}, 4096),
               leaf_page(5, {{revision_key(9), "b"}, {revision_key(11), big}}, 8192, 1), Bytes()});
  CHECK(inspect(ByteView(db)).revision == 11);
}

TEST_CASE("bolt: with the first meta page damaged the second one is looked for") {
  for (const std::uint32_t size : {1024U, 4096U, 65536U}) {
    CAPTURE(size);
    Bytes db = small_db(size);
    db[20] ^= 1;
    CHECK(inspect(db).revision == 362);
    db[size + 20] ^= 1;
    CHECK(contains(refusal(db), "no valid meta page"));
  }
}

TEST_CASE("bolt: pages beyond those of any kernel, and runs of them beyond 64 MiB, are refused") {
  CHECK(inspect(small_db(limits::kDatabasePage)).revision == 362);
  CHECK(contains(refusal(small_db(2 * limits::kDatabasePage)), "no valid meta page"));
  const std::uint32_t size = limits::kDatabasePage;
  const std::uint32_t pages = limits::kDatabaseRun / limits::kDatabasePage + 1;
  Bytes db = concatenated({meta_page(0, size, 2, pages + 2, 8), meta_page(1, size, 2, pages + 2, 7),
                           leaf_page(2, {{"key", ""}}, size, pages - 1)});
  db.resize(std::size_t{pages + 2} * size);
  CHECK(contains(refusal(db), "too large"));
}

TEST_CASE("bolt: the newer meta page leads, whichever it is") {
  Bytes db =
      concatenated({meta_page(0, 4096, 2, 4, 8), meta_page(1, 4096, 3, 4, 9),
                    leaf_page(2, {{"key", inline_bucket({{revision_key(1), ""}}), true}}, 4096),
                    leaf_page(3, {{"key", inline_bucket({{revision_key(2), ""}}), true}}, 4096)});
  CHECK(inspect(db).revision == 2);
  const Bytes older = meta_page(1, 4096, 3, 4, 7);
  std::copy(older.begin(), older.end(), db.begin() + 4096);
  CHECK(inspect(db).revision == 1);
}

TEST_CASE("bolt: a cut file is refused wherever it is cut") {
  const Bytes db = small_db();
  for (std::size_t size = 0; size < db.size(); size += 61) {
    CAPTURE(size);
    CHECK(refusal(ByteView(db).first(size)) != "accepted");
  }
}

TEST_CASE("bolt: page numbers outside of the file are refused") {
  for (const std::uint64_t id : {std::uint64_t{1}, std::uint64_t{4}, ~std::uint64_t{0}}) {
    CAPTURE(id);
    const Bytes db =
        concatenated({meta_page(0, 4096, 2, 4, 8), meta_page(1, 4096, 2, 4, 7),
                      leaf_page(2, {{"key", bucket_at(id), true}}, 4096), leaf_page(3, {}, 4096)});
    CHECK(contains(refusal(db), "not in the file"));
  }
  CHECK(contains(refusal(db_with({branch_page(3, {{"", 4}}, 4096)})), "page 4: not in the file"));
}

TEST_CASE("bolt: a loop of pages ends") {
  CHECK(contains(refusal(db_with({branch_page(3, {{"", 3}}, 4096)})), "page 3: found twice"));
  CHECK(
      contains(refusal(db_with({branch_page(3, {{"", 4}}, 4096), branch_page(4, {{"", 3}}, 4096)})),
               "found twice"));
}

TEST_CASE("bolt: a chain of branches deeper than any tree is refused") {
  std::vector<Bytes> pages;
  for (std::uint64_t id = 3; id < 80; ++id) pages.push_back(branch_page(id, {{"", id + 1}}, 4096));
  pages.push_back(leaf_page(80, {}, 4096));
  CHECK(contains(refusal(db_with(pages)), "too deep"));
}

TEST_CASE("bolt: a page that is not what it should be is refused") {
  Bytes page = leaf_page(4, {}, 4096);
  CHECK(contains(refusal(db_with({page})), "page 3: another page is in its place"));
  page = leaf_page(3, {}, 4096);
  put(page, 8, 0x10, 2);
  CHECK(contains(refusal(db_with({page})), "neither branch nor leaf"));
  page = leaf_page(3, {}, 4096);
  put(page, 10, 256, 2);
  CHECK(contains(refusal(db_with({page})), "too many elements"));
  page = leaf_page(3, {}, 4096);
  put(page, 12, 1, 4);
  CHECK(contains(refusal(db_with({page})), "overflows the file"));
  CHECK(contains(refusal(db_with({branch_page(3, {}, 4096)})), "without children"));
}

TEST_CASE("bolt: elements that reach outside of their page are refused") {
  for (const std::size_t field : {4U, 8U, 12U}) {  // pos, key size, value size
    for (const std::uint64_t value : {4096U, 0xFFFFFFFFU}) {
      CAPTURE(field);
      CAPTURE(value);
      Bytes page = leaf_page(3, {{revision_key(2), "x"}}, 4096);
      put(page, 16 + field, value, 4);
      CHECK(contains(refusal(db_with({page})), "an element lies outside"));
    }
  }
}

TEST_CASE("bolt: keys out of order are refused") {
  CHECK(contains(
      refusal(db_with({leaf_page(3, {{revision_key(3), ""}, {revision_key(2), ""}}, 4096)})),
      "out of order"));
}

TEST_CASE("bolt: buckets that are none are refused") {
  const auto with_root = [](const std::vector<Row>& rows) {
    return concatenated(
        {meta_page(0, 4096, 2, 3, 8), meta_page(1, 4096, 2, 3, 7), leaf_page(2, rows, 4096)});
  };
  CHECK(contains(refusal(with_root({{"key", bucket_at(2), false}})), "not a bucket"));
  CHECK(contains(refusal(with_root({{"key", "short", true}})), "not a bucket"));
  CHECK(contains(refusal(with_root({{"key", bucket_at(0) + "short", true}})), "too short"));
  CHECK(contains(refusal(with_root({{"other", inline_bucket({}), true}})), "no bucket 'key'"));
  CHECK(contains(refusal(with_root({{"key", bucket_at(2), true}})), "found twice"));
  CHECK(contains(refusal(with_root({{"key", inline_bucket({{"no revision", ""}}), true}})),
                 "is no revision"));
  CHECK(contains(refusal(with_root({{"key", inline_bucket({{revision_key(~0ULL), ""}}), true}})),
                 "out of range"));
}

TEST_CASE("bolt: a member that is no JSON is refused with its id") {
  const Bytes db = concatenated(
      {meta_page(0, 4096, 2, 3, 8), meta_page(1, 4096, 2, 3, 7),
       leaf_page(
           2, {{"key", inline_bucket({}), true}, {"members", inline_bucket({{"ab", "{"}}), true}},
           4096)});
  CHECK(contains(refusal(db), "member ab"));
}

TEST_CASE("bolt: no flipped byte makes the reader do worse than refuse") {
  const Bytes good = small_db();
  for (std::size_t at = 0; at < good.size(); at += at % 4096 < 900 ? 3U : 1500U) {
    Bytes bad = good;
    bad[at] ^= 0xFF;
    CAPTURE(at);
    CHECK_NOTHROW(refusal(bad));
  }
}

TEST_CASE("bolt: a missing file is not found") {
  try {
    inspect_database("/nonexistent/db");
    FAIL("found");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::not_found);
  }
}

}  // namespace
}  // namespace kubedr::etcd
