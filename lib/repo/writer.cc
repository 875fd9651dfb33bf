#include "repo/writer.h"

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/limits.h"
#include "base/queue.h"
#include "base/sha256.h"
#include "repo/blob.h"
#include "repo/packer.h"
#include "repo/repository.h"
#include "repo/spool.h"

// Who does what:
//
//   caller      reads about a MiB, cuts it, hands it over as one batch
//   workers     hash each chunk, ask the index whether it is new, compress, seal, verify; append a
//               batch's blobs to the open pack; finish a pack that became full
//   spool       where packs wait
//   uploaders   store packs, then make them known to the index; store an index file when there is
//               enough for one
//
// Memory does not depend on the number of workers, nor on how large the chunks are: what was read
// and is not yet in a pack takes part in one budget, PlainBytes. lib/README.md has the sum.
//
// A failure anywhere ends `scope`: everybody waits on its stop token, and its first reason is what
// the caller is told.
namespace kubedr::repo {

namespace {

using storage::FileKind;
using storage::FileName;

constexpr std::size_t kBatchBytes = limits::kMiB;
constexpr std::size_t kPlainBytes = kLargestChunk + kBatchBytes;
constexpr std::size_t kKeptBatches = 4;
constexpr std::size_t kSparePacks = 2;  // beyond memory_bytes: what uploaders hold
constexpr int kMaxWorkers = 4;          // more wait for the caller, who hashes what he reads
constexpr int kMaxUploaders = 5;
constexpr std::size_t kHeaderReserve = 256 * limits::kKiB;  // 6,000 entries, and the last blob

// The blob ids of one file. Batches come back in any order; the number of a batch's first chunk
// says where its ids belong.
//
// threads  synchronised
class Content {
 public:
  void expect_batch() {
    const std::lock_guard guard(mutex_);
    ++open_batches_;
  }

  void deliver(std::size_t first, const std::vector<BlobId>& ids) {
    const std::lock_guard guard(mutex_);
    if (ids_.size() < first + ids.size()) ids_.resize(first + ids.size());
    std::copy(ids.begin(), ids.end(), ids_.begin() + static_cast<std::ptrdiff_t>(first));
    --open_batches_;
    changed_.notify_all();
  }

  // All of them, once every batch came back.
  std::vector<BlobId> wait(const Call& call) {
    std::unique_lock lock(mutex_);
    const auto complete = [this] { return open_batches_ == 0; };
    if (!changed_.wait(lock, call.stop_token(), complete)) call.require_live();
    return std::move(ids_);
  }

 private:
  std::mutex mutex_;
  // Guarded by mutex_:
  std::condition_variable_any changed_;
  std::vector<BlobId> ids_;
  std::size_t open_batches_ = 0;
};

// How many bytes were read and are not yet sealed in a pack: with the caller, queued, or in work. A
// MiB is taken before it is read, so that the caller can complete even the largest chunk once the
// workers have done what they were given.
//
// threads  synchronised
class PlainBytes {
 public:
  // Waits until there is room for so many more.
  void take(std::size_t bytes, const Call& call) {
    std::unique_lock lock(mutex_);
    const auto has_room = [&] { return used_ + bytes <= kPlainBytes; };
    if (!changed_.wait(lock, call.stop_token(), has_room)) call.require_live();
    used_ += bytes;
  }

  // Without waiting: a copy of bytes that are counted until their batch is done.
  void overdraw(std::size_t bytes) {
    const std::lock_guard guard(mutex_);
    used_ += bytes;
  }

  void give(std::size_t bytes) {
    const std::lock_guard guard(mutex_);
    used_ -= bytes;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  // Guarded by mutex_:
  std::condition_variable_any changed_;
  std::size_t used_ = 0;
};

// What of them is with the caller, who may leave at any time: a source that failed is read again.
struct Reading {
  explicit Reading(PlainBytes& plain) : of(plain) {}

  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;

  ~Reading() { of.give(bytes); }

  PlainBytes& of;
  std::size_t bytes = 0;
};

// Whole chunks of one file.
struct Batch {
  Bytes buffer;
  std::vector<std::size_t> ends;     // of the chunks
  std::size_t first = 0;             // number of its first chunk
  std::size_t plain_bytes = 0;       // its part of PlainBytes
  std::shared_ptr<Content> content;  // shared: a worker may hold a batch of a failed save_file
};

// As many bytes as fit, fewer only at the end.
std::size_t fill(Source& source, std::span<std::uint8_t> buffer, const Call& call) {
  std::size_t filled = 0;
  while (filled < buffer.size()) {
    const std::size_t n = source.read(buffer.subspan(filled), call);
    if (n == 0) break;
    filled += n;
  }
  return filled;
}

int worker_count(int wanted) {
  if (wanted <= 0) wanted = static_cast<int>(std::thread::hardware_concurrency());
  return std::clamp(wanted, 1, kMaxWorkers);
}

SpoolOptions spool_options(const WriterOptions& options) {
  SpoolOptions spool;
  spool.memory_bytes = options.memory_bytes + kSparePacks * options.pack_bytes;
  spool.file_bytes = options.spool_bytes;
  spool.folder = options.spool_folder;
  spool.pack_bytes = options.pack_bytes;
  spool.stall_limit = options.stall_limit;
  return spool;
}

}  // namespace

struct Writer::Impl {
  Impl(const Repository& repository, Lock& lock, Index& index, const WriterOptions& options);
  ~Impl();

  void start();
  void fail(std::exception_ptr reason) noexcept;
  void guarded(const std::function<void()>& work) noexcept;
  BlobSealer make_blob_sealer() const;

  void work();
  void process(const Batch& batch, BlobSealer& blobs, SealedBlobs& sealed);
  void pack(Packer& packer, const SealedBlobs& sealed, Sealer& sealer);
  void put(SealedBlobs&& full, Sealer& sealer);
  void upload();
  std::vector<IndexedPack> store(Pack& pack);
  void save_index(const std::vector<IndexedPack>& packs);
  void count(BlobType type, std::uint64_t blobs, std::uint64_t plain, const SealedBlobs& sealed);

  void await(const BlobHandle& blob);
  void require_awaited() const;
  void push(Batch batch);
  void begin_progress(UploadProgress progress);
  void flush(UploadProgress progress);

  const Repository& repository_;
  Lock& lock_;
  Index& index_;
  const WriterOptions options_;

  CallScope scope_;
  PlainBytes plain_;
  Queue<Batch> batches_;
  BufferPool batch_buffers_;
  BufferPool pack_buffers_;
  Packer data_;
  Packer trees_;
  Spool spool_;
  BlobSealer caller_blobs_;  // the caller's thread
  bool finished_ = false;    // the caller's thread

  std::mutex mutex_;
  // Guarded by mutex_:
  WriterStats stats_;
  std::uint64_t packed_bytes_ = 0;      // of packs, those waiting among them
  std::uint64_t stored_bytes_ = 0;      // of packs
  std::uint64_t to_upload_ = 0;         // the total that progress_ is told; set before it
  UploadProgress progress_;             // set once: may then be called without mutex_
  std::vector<IndexedPack> unindexed_;  // stored, in no index file yet
  std::size_t unindexed_blobs_ = 0;
  std::set<BlobHandle> awaited_;  // claimed by somebody else when we met them

  std::vector<std::jthread> workers_;  // last: they use everything above
  std::vector<std::jthread> uploaders_;
};

Writer::Impl::Impl(const Repository& repository, Lock& lock, Index& index,
                   const WriterOptions& options)
    : repository_(repository),
      lock_(lock),
      index_(index),
      options_(options),
      scope_(lock.scope()),
      batches_(kPlainBytes),
      batch_buffers_(kBatchBytes, kKeptBatches),
      pack_buffers_(options.pack_bytes + kHeaderReserve, kSparePacks),
      data_(options.pack_bytes, pack_buffers_),
      trees_(options.pack_bytes, pack_buffers_),
      spool_(spool_options(options), pack_buffers_),
      caller_blobs_(make_blob_sealer()) {}

Writer::Impl::~Impl() {
  scope_.fail(std::make_exception_ptr(Error(ErrorKind::interrupted, "writer: was given up")));
}

BlobSealer Writer::Impl::make_blob_sealer() const {
  return {repository_.make_sealer(), repository_.config().version};
}

void Writer::Impl::start() {
  for (int i = worker_count(options_.workers); i > 0; --i) {
    workers_.emplace_back([this] { guarded([this] { work(); }); });
  }
  for (int i = std::clamp(repository_.store().connections(), 1, kMaxUploaders); i > 0; --i) {
    uploaders_.emplace_back([this] { guarded([this] { upload(); }); });
  }
}

// What a thread throws because the run already ended is not why it ended.
void Writer::Impl::fail(std::exception_ptr reason) noexcept {
  try {
    scope_.call().require_live();
  } catch (...) {
    reason = std::current_exception();
  }
  scope_.fail(std::move(reason));
}

void Writer::Impl::guarded(const std::function<void()>& work) noexcept {
  try {
    work();
  } catch (...) {
    fail(std::current_exception());
  }
}

void Writer::Impl::work() {
  BlobSealer blobs = make_blob_sealer();
  SealedBlobs sealed;
  while (std::optional<Batch> batch = batches_.pop(scope_.call().stop_token())) {
    spool_.wait_for_room(scope_.call());
    process(*batch, blobs, sealed);
    batch_buffers_.give(std::move(batch->buffer));
    plain_.give(batch->plain_bytes);
  }
}

void Writer::Impl::process(const Batch& batch, BlobSealer& blobs, SealedBlobs& sealed) {
  std::vector<BlobId> ids;
  ids.reserve(batch.ends.size());
  sealed.bytes.clear();
  sealed.entries.clear();
  // Doubling would take up to twice the bytes.
  sealed.bytes.reserve(batch.buffer.size() + batch.ends.size() * kSealOverhead);
  std::uint64_t plain_bytes = 0;
  std::size_t begin = 0;
  for (const std::size_t end : batch.ends) {
    const ByteView chunk = ByteView(batch.buffer).subspan(begin, end - begin);
    begin = end;
    const BlobHandle blob{BlobType::data, BlobId(sha256(chunk))};
    ids.push_back(blob.id);
    const Index::Claim claim = index_.claim(blob);
    if (claim == Index::Claim::pending) await(blob);
    if (claim != Index::Claim::mine) continue;
    blobs.seal(blob, chunk, sealed);
    plain_bytes += chunk.size();
  }
  count(BlobType::data, sealed.entries.size(), plain_bytes, sealed);
  pack(data_, sealed, blobs.sealer());
  if (sealed.bytes.capacity() > 2 * kBatchBytes) Bytes().swap(sealed.bytes);
  // Last: whoever waits for the ids may flush the open packs next.
  batch.content->deliver(batch.first, ids);
}

void Writer::Impl::await(const BlobHandle& blob) {
  const std::lock_guard guard(mutex_);
  awaited_.insert(blob);
}

// An index may still hold claims of a writer that failed: nobody stores those blobs, and a snapshot
// of them could not be restored.
void Writer::Impl::require_awaited() const {
  for (const BlobHandle& blob : awaited_) {
    if (index_.find(blob)) continue;
    throw Error(ErrorKind::internal, "blob " + blob.id.hex() + ": was claimed and never stored");
  }
}

void Writer::Impl::count(BlobType type, std::uint64_t blobs, std::uint64_t plain,
                         const SealedBlobs& sealed) {
  std::uint64_t packed = sealed.bytes.size();
  for (const PackEntry& entry : sealed.entries) packed += entry.header_size();
  const std::lock_guard guard(mutex_);
  (type == BlobType::data ? stats_.data_blobs : stats_.tree_blobs) += blobs;
  stats_.data_added += plain;
  stats_.data_added_packed += packed;
}

void Writer::Impl::pack(Packer& packer, const SealedBlobs& sealed, Sealer& sealer) {
  for (SealedBlobs& full : packer.add(sealed)) put(std::move(full), sealer);
}

void Writer::Impl::put(SealedBlobs&& full, Sealer& sealer) {
  Pack pack = finish_pack(std::move(full), sealer);
  {
    const std::lock_guard guard(mutex_);
    packed_bytes_ += pack.bytes.size();
  }
  spool_.put(std::move(pack));
}

void Writer::Impl::upload() {
  Sealer sealer = repository_.make_sealer();
  while (std::optional<Pack> pack = spool_.take(scope_.call())) {
    if (pack->entries.empty()) {
      pack->entries = parse_pack_header(pack->bytes, pack->bytes.size(), sealer, "spooled pack");
    }
    const std::vector<IndexedPack> full = store(*pack);
    spool_.stored(std::move(*pack));  // first: an index file takes as much memory as its pack did
    save_index(full);
  }
}

// Returns the packs for an index file once there are enough.
std::vector<IndexedPack> Writer::Impl::store(Pack& pack) {
  const std::uint64_t bytes = pack.bytes.size();
  repository_.store().save({FileKind::pack, pack.id.hex()}, pack.bytes, pack.id.digest(),
                           storage::SaveMode::replace, scope_.call());
  IndexedPack indexed{pack.id, std::move(pack.entries)};
  index_.publish(indexed);
  std::vector<IndexedPack> full;
  const UploadProgress* progress = nullptr;
  {
    const std::lock_guard guard(mutex_);
    ++stats_.packs;
    stats_.bytes_stored += bytes;
    stored_bytes_ += bytes;
    if (progress_) progress = &progress_;
    unindexed_blobs_ += indexed.entries.size();
    unindexed_.push_back(std::move(indexed));
    if (unindexed_blobs_ >= kFullIndex) {
      unindexed_blobs_ = 0;
      full.swap(unindexed_);
    }
  }
  if (progress != nullptr) (*progress)(bytes, to_upload_);
  return full;
}

void Writer::Impl::save_index(const std::vector<IndexedPack>& packs) {
  if (packs.empty()) return;
  const std::size_t bytes = save_index_file(packs, repository_.files(), lock_, scope_.call());
  const std::lock_guard guard(mutex_);
  stats_.bytes_stored += bytes;
}

void Writer::Impl::push(Batch batch) {
  batch.content->expect_batch();
  const std::size_t weight = batch.plain_bytes;
  if (!batches_.push(std::move(batch), weight, scope_.call().stop_token())) {
    scope_.call().require_live();
  }
}

// From here on what is missing is known. Nobody is told under mutex_: uploaders go on while the
// caller waits for a terminal.
void Writer::Impl::begin_progress(UploadProgress progress) {
  if (!progress) return;
  std::uint64_t stored = 0;
  {
    const std::lock_guard guard(mutex_);
    stored = stored_bytes_;
    to_upload_ = packed_bytes_ - stored;
  }
  progress(0, to_upload_);
  {
    const std::lock_guard guard(mutex_);
    stored = stored_bytes_ - stored;
    progress_ = std::move(progress);
  }
  if (stored != 0) progress_(stored, to_upload_);
}

void Writer::Impl::flush(UploadProgress progress) {
  batches_.close();
  workers_.clear();
  scope_.call().require_live();
  for (Packer* packer : {&data_, &trees_}) {
    if (std::optional<SealedBlobs> rest = packer->rest()) {
      put(std::move(*rest), caller_blobs_.sealer());
    }
  }
  begin_progress(std::move(progress));
  spool_.close();
  uploaders_.clear();
  scope_.call().require_live();
  require_awaited();
  save_index(std::exchange(unindexed_, {}));
}

namespace {

// While the caller is inside a call of the writer, the end of the caller's call ends the run.
class Inside {
 public:
  Inside(CallScope& scope, bool finished, const Call& call)
      : call_(call), on_stop_(call.stop_token(), [&scope, this] { end(scope); }) {
    scope.call().require_live();
    call_.require_live();
    if (finished) throw Error(ErrorKind::internal, "writer: is finished already");
  }

 private:
  void end(CallScope& scope) const noexcept {
    try {
      call_.require_live();
    } catch (...) {
      scope.fail(std::current_exception());
    }
  }

  const Call& call_;
  std::stop_callback<std::function<void()>> on_stop_;
};

}  // namespace

Writer::Writer(const Repository& repository, Lock& lock, Index& index, const WriterOptions& options)
    : impl_(std::make_unique<Impl>(repository, lock, index, options)) {
  impl_->start();
}

Writer::~Writer() = default;

SavedFile Writer::save_file(Source& source, const Cut& cut, const Call& call) {
  const Inside inside(impl_->scope_, impl_->finished_, call);
  Cutter cutter(cut);
  SavedFile saved;
  const auto content = std::make_shared<Content>();
  std::size_t chunks = 0;
  Bytes buffer = impl_->batch_buffers_.take();
  std::size_t carried = 0;  // bytes at the start of the buffer: a chunk without its end
  Reading reading(impl_->plain_);
  for (bool at_end = false; !at_end;) {
    impl_->plain_.take(kBatchBytes, impl_->scope_.call());
    reading.bytes += kBatchBytes;
    buffer.resize(carried + kBatchBytes);
    const std::size_t n = fill(source, std::span(buffer).subspan(carried), call);
    at_end = n < kBatchBytes;
    saved.size += n;
    std::vector<std::size_t> ends;
    cutter.feed(ByteView(buffer).subspan(carried, n), ends);
    for (std::size_t& end : ends) end += carried;
    const std::size_t filled = carried + n;
    const std::size_t cut_off = ends.empty() ? 0 : ends.back();
    if (at_end && filled > cut_off) ends.push_back(filled);
    if (ends.empty()) {
      carried = filled;
      buffer.reserve(kPlainBytes);
      continue;
    }
    Bytes next;
    const std::size_t plain_bytes = std::exchange(reading.bytes, 0);
    carried = filled - ends.back();
    if (!at_end) {
      impl_->plain_.overdraw(carried);
      reading.bytes = carried;
      next = impl_->batch_buffers_.take();
      if (next.size() < carried) next.resize(carried);
      std::copy_n(buffer.begin() + static_cast<std::ptrdiff_t>(ends.back()), carried, next.begin());
    }
    const std::size_t first = std::exchange(chunks, chunks + ends.size());
    impl_->push({std::move(buffer), std::move(ends), first, plain_bytes, content});
    buffer = std::move(next);
  }
  saved.content = content->wait(impl_->scope_.call());
  return saved;
}

BlobId Writer::save_tree(std::string_view json, const Call& call) {
  const Inside inside(impl_->scope_, impl_->finished_, call);
  const BlobHandle blob{BlobType::tree, BlobId(sha256(as_bytes(json)))};
  const Index::Claim claim = impl_->index_.claim(blob);
  if (claim == Index::Claim::pending) impl_->await(blob);
  if (claim != Index::Claim::mine) return blob.id;
  // A claimed blob that is not stored must end the run: nobody else would store it.
  impl_->guarded([&] {
    SealedBlobs sealed;
    impl_->caller_blobs_.seal(blob, as_bytes(json), sealed);
    impl_->count(BlobType::tree, 1, json.size(), sealed);
    impl_->pack(impl_->trees_, sealed, impl_->caller_blobs_.sealer());
  });
  impl_->scope_.call().require_live();
  return blob.id;
}

Written Writer::finish(const Call& call, UploadProgress progress) {
  const Inside inside(impl_->scope_, impl_->finished_, call);
  impl_->finished_ = true;
  impl_->flush(std::move(progress));
  Written written;
  written.stats_ = impl_->stats_;
  return written;
}

}  // namespace kubedr::repo
