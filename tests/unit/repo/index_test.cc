#include "repo/index.h"

#include <doctest/doctest.h>

#include <atomic>
#include <random>
#include <string>
#include <thread>

#include "base/error.h"
#include "base/hex.h"
#include "base/sha256.h"

using namespace kubedr;
using namespace kubedr::repo;

namespace {

template <class AnyId>
AnyId id_of(const std::string& text) {
  return AnyId(sha256(as_bytes(text)));
}

BlobHandle data(const std::string& text) {
  return {BlobType::data, id_of<BlobId>(text)};
}

BlobHandle tree(const std::string& text) {
  return {BlobType::tree, id_of<BlobId>(text)};
}

std::vector<IndexedPack> parse(const std::string& json, int version = 2) {
  std::vector<IndexedPack> packs;
  parse_index(json, version, "index/ab",
              [&packs](IndexedPack&& pack) { packs.push_back(std::move(pack)); });
  return packs;
}

// What is said about a text, or empty.
std::string complaint(const std::string& json, int version = 2) {
  try {
    parse(json, version);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::corrupt);
    return error.what();
  }
  return "";
}

const std::string kId(64, 'a');
const std::string kOtherId(64, 'b');

std::string one_blob(const std::string& keys) {
  return R"({"packs":[{"id":")" + kId + R"(","blobs":[{)" + keys + "}]}]}";
}

const std::string kPlainBlob = R"("id":")" + kOtherId + R"(","type":"data","offset":5,"length":42)";

IndexedPack pack_of(const std::string& name, const std::vector<BlobHandle>& blobs) {
  IndexedPack pack{id_of<PackId>(name), {}};
  std::uint32_t offset = 0;
  for (const BlobHandle& blob : blobs) {
    pack.entries.push_back({blob, offset, 100, 50});
    offset += 100;
  }
  return pack;
}

}  // namespace

TEST_CASE("index: restic's shape is written") {
  IndexedPack pack{*PackId::parse(kId), {}};
  pack.entries.push_back({{BlobType::data, *BlobId::parse(kOtherId)}, 0, 42, 1});
  pack.entries.push_back({{BlobType::tree, *BlobId::parse(kOtherId)}, 42, 33, 0});
  CHECK(index_json({pack, pack}) ==
        R"({"packs":[{"id":")" + kId + R"(","blobs":[{"id":")" + kOtherId +
            R"(","type":"data","offset":0,"length":42,"uncompressed_length":1},{"id":")" +
            kOtherId + R"(","type":"tree","offset":42,"length":33}]},{"id":")" + kId +
            R"(","blobs":[{"id":")" + kOtherId +
            R"(","type":"data","offset":0,"length":42,"uncompressed_length":1},{"id":")" +
            kOtherId + R"(","type":"tree","offset":42,"length":33}]}]})" + "\n");
  CHECK(index_json({}) == "{\"packs\":[]}\n");
}

TEST_CASE("index: more than 50,000 blobs come back, packs and order kept") {
  std::mt19937 random(1);
  std::vector<IndexedPack> packs;
  for (int number = 0; number < 130; ++number) {
    IndexedPack pack{id_of<PackId>("pack" + std::to_string(number)), {}};
    for (int blob = 0; blob < 400; ++blob) {
      const BlobHandle handle{random() % 2 == 0 ? BlobType::data : BlobType::tree,
                              id_of<BlobId>(std::to_string(number * 1000 + blob))};
      const auto length = static_cast<std::uint32_t>(32 + random() % 1000000);
      pack.entries.push_back({handle, static_cast<std::uint32_t>(random()) / 2, length,
                              static_cast<std::uint32_t>(random() % 2 * 7)});
    }
    packs.push_back(std::move(pack));
  }
  const std::vector<IndexedPack> back = parse(index_json(packs));
  REQUIRE(back.size() == packs.size());
  for (std::size_t i = 0; i < packs.size(); ++i) {
    REQUIRE(back[i].id == packs[i].id);
    REQUIRE(back[i].entries == packs[i].entries);
  }
}

TEST_CASE("index: supersedes, unknown keys and white space are passed over") {
  const std::string json =
      "{ \"supersedes\" : [\"" + kOtherId + "\"],\n\"new\": {\"packs\": [1]}, " +
      one_blob(kPlainBlob + R"(,"extra":[{"id":1}],"other":null,"more":true)").substr(1) + "\n";
  const std::vector<IndexedPack> packs = parse(json);
  REQUIRE(packs.size() == 1);
  REQUIRE(packs[0].entries.size() == 1);
  CHECK(packs[0].id.hex() == kId);
  CHECK(packs[0].entries[0].blob.id.hex() == kOtherId);
  CHECK(packs[0].entries[0].offset == 5);
  CHECK(packs[0].entries[0].length == 42);
  CHECK_FALSE(packs[0].entries[0].compressed());
}

TEST_CASE("index: keys may come in any order, and lists may be null") {
  const std::string json = R"({"packs":[{"blobs":[{"length":42,"uncompressed_length":9,"offset":0,)"
                           R"("type":"tree","id":")" +
                           kOtherId + R"("}],"id":")" + kId + "\"}]}";
  const std::vector<IndexedPack> packs = parse(json);
  REQUIRE(packs.size() == 1);
  CHECK(packs[0].id.hex() == kId);
  CHECK(packs[0].entries[0].plain_length == 9);
  CHECK(parse(R"({"packs":null})").empty());
  CHECK(parse(R"({"packs":[{"id":")" + kId + R"(","blobs":null}]})").size() == 1);
}

TEST_CASE("index: a compressed blob needs version 2") {
  const std::string json = one_blob(kPlainBlob + R"(,"uncompressed_length":9)");
  CHECK(complaint(json, 2).empty());
  CHECK(complaint(json, 1) ==
        "index/ab: not an index: index uses feature not supported by repository version 1");
  CHECK(complaint(one_blob(kPlainBlob), 1).empty());
}

TEST_CASE("index: what is no index is corrupt") {
  const auto changed = [](const std::string& what, const std::string& instead) {
    std::string json = one_blob(kPlainBlob);
    return complaint(json.replace(json.find(what), what.size(), instead));
  };
  REQUIRE(complaint(one_blob(kPlainBlob)).empty());
  for (const char* text :
       {"", "{}", "[]", "5", "null", "\"x\"", "\x02{", R"({"packs":{}})", R"({"packs":5})",
        R"({"packs":[5]})", R"({"packs":[[]]})", R"({"packs":[null]})", R"({"packs":[{}]})",
        R"({"packs":[{"id":5}]})", R"({"packs":[{"id":[]}]})", R"({"packs":[{"blobs":{}}]})"}) {
    CAPTURE(text);
    CHECK_FALSE(complaint(text).empty());
  }
  CHECK(changed(":42", ":4294967296").find("beyond 32 bits") != std::string::npos);
  CHECK(changed(":5,", ":4294967295,").find("beyond 4 GiB") != std::string::npos);
  CHECK_FALSE(changed(":42", ":-42").empty());
  CHECK_FALSE(changed(":42", ":42.0").empty());
  CHECK_FALSE(changed(":42", ":31").empty());
  CHECK_FALSE(changed(":42", ":\"42\"").empty());
  CHECK_FALSE(changed(":42", ":null").empty());
  CHECK_FALSE(changed(":42", ":[42]").empty());
  CHECK_FALSE(changed(",\"length\":42", "").empty());
  CHECK_FALSE(changed("\"offset\":5,", "").empty());
  CHECK_FALSE(changed("\"type\":\"data\",", "").empty());
  CHECK_FALSE(changed("\"data\"", "\"blob\"").empty());
  CHECK_FALSE(changed("bbbb", "BBBB").empty());
  CHECK_FALSE(changed("bbbb", "bbb").empty());
}

TEST_CASE("index: random damage is taken or corrupt, nothing else") {
  const std::string json = one_blob(kPlainBlob + R"(,"uncompressed_length":9)");
  std::mt19937 random(3);
  for (int round = 0; round < 5000; ++round) {
    std::string damaged = json;
    for (auto left = 1 + random() % 3; left > 0; --left) {
      const std::size_t at = random() % damaged.size();
      const char byte = "{}[]\",:0-9.etnul\\\xff"[random() % 19];
      switch (random() % 3) {
      case 0:
        damaged[at] = byte;
        break;
      case 1:
        damaged.insert(at, 1, byte);
        break;
      default:
        damaged.erase(at, random() % 20);
        break;
      }
      if (damaged.empty()) damaged = "x";
    }
    complaint(damaged);
  }
}

TEST_CASE("index: blobs are found by type and id") {
  Index index;
  index.add(pack_of("p1", {data("a"), tree("b")}));
  const auto place = index.find(tree("b"));
  REQUIRE(place.has_value());
  CHECK(place->pack == id_of<PackId>("p1"));
  CHECK(place->entry == PackEntry{tree("b"), 100, 100, 50});
  CHECK_FALSE(index.find(data("b")).has_value());
  CHECK_FALSE(index.find(data("c")).has_value());
  CHECK(index.blobs() == 2);
  CHECK(index.packs() == 1);
}

TEST_CASE("index: all copies of a blob are kept, the same place once") {
  Index index;
  index.add(pack_of("p1", {data("a"), data("b")}));
  index.add(pack_of("p2", {data("b")}));
  index.add(pack_of("p2", {data("b")}));
  const std::vector<Index::Place> places = index.find_all(data("b"));
  REQUIRE(places.size() == 2);
  CHECK(places[0].pack == id_of<PackId>("p1"));
  CHECK(places[1].pack == id_of<PackId>("p2"));
  CHECK(index.find(data("b"))->pack == id_of<PackId>("p1"));
  CHECK(index.find_all(data("c")).empty());
  CHECK(index.blobs() == 2);
  CHECK(index.packs() == 2);
}

TEST_CASE("index: a claimed blob is pending until its pack is published") {
  Index index;
  index.add(pack_of("old", {data("a")}));
  CHECK(index.claim(data("a")) == Index::Claim::known);
  CHECK(index.claim(tree("a")) == Index::Claim::mine);
  CHECK(index.claim(data("b")) == Index::Claim::mine);
  CHECK(index.claim(data("b")) == Index::Claim::pending);
  CHECK_FALSE(index.find(data("b")).has_value());
  CHECK(index.find_all(data("b")).empty());
  CHECK(index.blobs() == 1);
  index.publish(pack_of("new", {data("b")}));
  CHECK(index.claim(data("b")) == Index::Claim::known);
  CHECK(index.find(data("b"))->pack == id_of<PackId>("new"));
  CHECK(index.find_all(data("b")).size() == 1);
  CHECK(index.blobs() == 2);
  CHECK(index.claim(tree("a")) == Index::Claim::pending);
}

TEST_CASE("index: growth loses nothing") {
  Index index;
  std::vector<BlobHandle> blobs;
  for (int number = 0; number < 60000; ++number) {
    blobs.push_back(number % 3 == 0 ? tree(std::to_string(number)) : data(std::to_string(number)));
  }
  for (std::size_t from = 0; from < blobs.size(); from += 500) {
    const auto at = blobs.begin() + static_cast<std::ptrdiff_t>(from);
    index.add(pack_of("p" + std::to_string(from), {at, at + 500}));
    index.add(pack_of("copy" + std::to_string(from), {at, at + 1}));
  }
  CHECK(index.blobs() == blobs.size());
  CHECK(index.packs() == 240);
  for (std::size_t i = 0; i < blobs.size(); ++i) {
    const auto place = index.find(blobs[i]);
    REQUIRE(place.has_value());
    REQUIRE(place->entry.blob == blobs[i]);
    REQUIRE(place->entry.offset == i % 500 * 100);
    REQUIRE(place->pack == id_of<PackId>("p" + std::to_string(i / 500 * 500)));
    REQUIRE(index.find_all(blobs[i]).size() == (i % 500 == 0 ? 2 : 1));
  }
}

TEST_CASE("index: of many threads just one gets each blob") {
  Index index;
  std::vector<BlobHandle> blobs;
  for (int number = 0; number < 5000; ++number) blobs.push_back(data(std::to_string(number)));
  std::atomic<int> mine{0};
  {
    std::vector<std::jthread> threads;
    for (int worker = 0; worker < 4; ++worker) {
      threads.emplace_back([&, worker] {
        for (const BlobHandle& blob : blobs) {
          if (index.claim(blob) != Index::Claim::mine) continue;
          ++mine;
          index.publish(pack_of(std::to_string(worker) + blob.id.hex(), {blob}));
        }
      });
    }
  }
  CHECK(mine == 5000);
  CHECK(index.blobs() == 5000);
  CHECK(index.packs() == 5000);
}
