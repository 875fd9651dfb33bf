#include "repo/spool.h"

#include <fcntl.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/sha256.h"
#include "base/text.h"
#include "base/time.h"

namespace kubedr::repo {

namespace {

constexpr std::chrono::milliseconds kLook{50};  // how often a stalled thread looks at the clock

FileDescriptor open_unlinked(const std::filesystem::path& folder) {
  FileDescriptor unnamed(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (unnamed.valid()) return unnamed;
  // Not every file system knows O_TMPFILE.
  std::string name = folder / "kubedr-spool-XXXXXX";
  FileDescriptor named(::mkostemp(name.data(), O_CLOEXEC));
  if (!named.valid()) throw_errno(folder, "make a spool file");
  if (::unlink(name.c_str()) != 0) throw_errno(name, "unlink the spool file");
  return named;
}

// Gives the space of what was read back to the disk again. Where a file system cannot do that the
// space stays counted, and the file is filled once only.
bool punch(int fd, std::uint64_t offset, std::size_t bytes) {
  return ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                     static_cast<off_t>(bytes)) == 0;
}

}  // namespace

Spool::Spool(SpoolOptions options, BufferPool& pool) : options_(std::move(options)), pool_(pool) {
  if (options_.file_bytes == 0) return;
  try {
    file_ = open_unlinked(options_.folder);
    file_usable_ = true;
  } catch (const Error& error) {
    log::info("spool: {}; sealed packs wait in memory only", error.what());
  }
}

bool Spool::has_room() const {
  if (memory_used_ + options_.pack_bytes <= options_.memory_bytes) return true;
  return file_usable_ && file_used_ + options_.pack_bytes <= options_.file_bytes;
}

void Spool::wait_for_room(const Call& call) {
  std::unique_lock lock(mutex_);
  SteadyTime since = call.clock().steady();
  std::uint64_t seen = packs_stored_;
  while (!has_room()) {
    if (changed_.wait_for(lock, call.stop_token(), kLook, [this] { return has_room(); })) return;
    call.require_live();
    const SteadyTime now = call.clock().steady();
    if (packs_stored_ != seen) {
      seen = packs_stored_;
      since = now;
    }
    if (now - since < options_.stall_limit) continue;
    throw Error(
        ErrorKind::unavailable,
        "the store finished nothing for " +
            human_duration(std::chrono::duration_cast<std::chrono::seconds>(options_.stall_limit)) +
            " while " + human_size(memory_used_) + " in memory and " + human_size(file_used_) +
            " in the spool file wait for it",
        "S3 takes too little: see what slows it down, or give a larger --spool-limit");
  }
}

std::optional<std::uint64_t> Spool::reserve(std::size_t bytes) {
  const std::lock_guard guard(mutex_);
  const bool fits_in_memory = memory_used_ + bytes <= options_.memory_bytes;
  const bool fits_in_file = file_usable_ && file_used_ + bytes <= options_.file_bytes;
  if (fits_in_memory || !fits_in_file) {
    memory_used_ += bytes;
    return std::nullopt;
  }
  file_used_ += bytes;
  return std::exchange(file_end_, file_end_ + bytes);
}

bool Spool::write(const Pack& pack, std::uint64_t offset) {
  try {
    write_full_at(file_.get(), pack.bytes, offset, options_.folder / "spool file");
    return true;
  } catch (const Error& error) {
    log::warn("{}; sealed packs wait in memory only", error.what());
  }
  const std::lock_guard guard(mutex_);
  file_usable_ = false;
  file_used_ -= pack.bytes.size();
  memory_used_ += pack.bytes.size();
  return false;
}

void Spool::put(Pack pack) {
  const std::size_t bytes = pack.bytes.size();
  const std::optional<std::uint64_t> offset = reserve(bytes);
  const bool filed = offset && write(pack, *offset);
  if (filed) pool_.give(std::move(pack.bytes));
  const std::lock_guard guard(mutex_);
  if (filed) {
    in_file_.push_back({pack.id, *offset, bytes});
  } else {
    in_memory_.push_back(std::move(pack));
  }
  changed_.notify_all();
}

void Spool::close() {
  const std::lock_guard guard(mutex_);
  closed_ = true;
  changed_.notify_all();
}

bool Spool::may_read_back() const {
  if (in_file_.empty()) return false;
  return memory_used_ == 0 || memory_used_ + in_file_.front().bytes <= options_.memory_bytes;
}

std::optional<Pack> Spool::take(const Call& call) {
  std::unique_lock lock(mutex_);
  const auto ready = [this] {
    return !in_memory_.empty() || may_read_back() || (closed_ && in_file_.empty());
  };
  if (!changed_.wait(lock, call.stop_token(), ready) || call.stopped()) return std::nullopt;
  // Memory first: that makes room for packs that need not go to the disk then.
  if (!in_memory_.empty()) {
    Pack pack = std::move(in_memory_.front());
    in_memory_.pop_front();
    return pack;
  }
  if (in_file_.empty()) return std::nullopt;
  const Filed filed = in_file_.front();
  in_file_.pop_front();
  memory_used_ += filed.bytes;
  lock.unlock();
  return read_back(filed);
}

Pack Spool::read_back(const Filed& filed) {
  Pack pack;
  pack.id = filed.id;
  pack.bytes = pool_.take();
  pack.bytes.resize(filed.bytes);
  const std::size_t got =
      read_full_at(file_.get(), pack.bytes, filed.offset, options_.folder / "spool file");
  if (got != filed.bytes || PackId(sha256(pack.bytes)) != pack.id) {
    throw Error(ErrorKind::corrupt,
                options_.folder.string() + ": the spool file gave back other bytes than written",
                "this disk or computer's memory may be faulty");
  }
  if (punch(file_.get(), filed.offset, filed.bytes)) {
    const std::lock_guard guard(mutex_);
    file_used_ -= filed.bytes;
    changed_.notify_all();
  }
  return pack;
}

void Spool::stored(Pack pack) {
  const std::size_t bytes = pack.bytes.size();
  pool_.give(std::move(pack.bytes));
  const std::lock_guard guard(mutex_);
  memory_used_ -= bytes;
  ++packs_stored_;
  changed_.notify_all();
}

}  // namespace kubedr::repo
