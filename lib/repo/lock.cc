#include "repo/lock.h"

#include <fmt/core.h>

#include <algorithm>
#include <limits>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "repo/json_text.h"
#include "repo/unpacked.h"

// How a lock works in a store that can only list, write and delete:
//
//   look at all locks      a lock that excludes ours ends the attempt
//   write ours             a file of its own, named by its hash
//   wait 200 ms, look again     two that came at the same time now see each other; both may step
//                               back, never both stay
//
// While held it is written anew every five minutes (a file cannot be touched: its time is inside),
// and the old one is deleted. Others may remove a lock that is 30 minutes old. That our file is
// still there is what proves that nobody did; so each refresh looks for it, before and after.
namespace kubedr::repo {

namespace {

using storage::FileInfo;
using storage::FileKind;
using storage::FileName;

constexpr std::chrono::milliseconds kLookAgain{200};  // restic's
constexpr std::chrono::seconds kFirstPause{5};        // between attempts, doubled; restic's
constexpr std::chrono::seconds kLongestPause{60};
constexpr std::chrono::seconds kAfterFailure{30};  // until a failed refresh is tried again
constexpr std::chrono::minutes kWake{1};           // a computer that slept must notice soon
constexpr std::chrono::seconds kCleanUp{5};

// "547.030566": a number with a fraction of `digits`, without trailing zeros.
std::string with_fraction(std::int64_t value, int digits) {
  std::int64_t unit = 1;
  for (int i = 0; i < digits; ++i) unit *= 10;
  std::string text = std::to_string(value / unit);
  if (value % unit == 0) return text;
  std::string fraction = fmt::format("{:0{}}", value % unit, digits);
  fraction.erase(fraction.find_last_not_of('0') + 1);
  return text + "." + fraction;
}

// A duration as Go prints it: "547.030566ms", "31m0.5s", "1h0m2s".
std::string go_duration(std::chrono::nanoseconds duration) {
  std::int64_t ns = duration.count();
  if (ns == 0) return "0s";
  const std::string sign = ns < 0 ? "-" : "";
  ns = ns < 0 ? -ns : ns;
  if (ns < 1'000) return sign + std::to_string(ns) + "ns";
  if (ns < 1'000'000) return sign + with_fraction(ns, 3) + "\u00b5s";
  if (ns < 1'000'000'000) return sign + with_fraction(ns, 6) + "ms";
  const std::int64_t minutes = ns / 60'000'000'000;
  const std::string seconds = with_fraction(ns % 60'000'000'000, 9) + "s";
  if (minutes == 0) return sign + seconds;
  if (minutes < 60) return fmt::format("{}{}m{}", sign, minutes, seconds);
  return fmt::format("{}{}h{}m{}", sign, minutes / 60, minutes % 60, seconds);
}

std::int64_t integer_of(const Json& json, const char* key, std::int64_t limit,
                        const std::string& where) {
  if (find(json, {key}) == nullptr) return 0;
  const auto value = find_integer(json, {key});
  if (!value || *value < 0 || *value > limit) {
    throw Error(ErrorKind::corrupt,
                fmt::format("{}: not a lock: {} is no such number", where, key));
  }
  return *value;
}

std::vector<std::string> list_locks(const UnpackedFiles& files, const Call& call) {
  std::vector<std::string> ids;
  files.store().list(
      FileKind::lock,
      [&](const FileInfo& info) {
        // restic 0.9 made the file first and filled it then.
        if (info.size != 0) ids.push_back(info.id);
      },
      call);
  return ids;
}

// Nullopt when it was removed since it was listed.
std::optional<LockInfo> load_lock(const UnpackedFiles& files, const std::string& id,
                                  const Call& call) {
  const FileName name{FileKind::lock, id};
  try {
    return parse_lock(as_text(files.load(name, call)), name.path());
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::not_found) return std::nullopt;
    if (error.kind() != ErrorKind::corrupt) throw;
    // Whose it is cannot be known, so it counts.
    throw Error(
        ErrorKind::locked,
        fmt::format("unable to create lock in backend: invalid lock file: {}", error.what()),
        "if no other process works on the repository, `unlock --remove-all` removes it");
  }
}

void require_no_conflict(const UnpackedFiles& files, const LockInfo& wanted, const std::string& own,
                         const Call& call) {
  for (const std::string& id : list_locks(files, call)) {
    if (id == own) continue;
    const std::optional<LockInfo> other = load_lock(files, id, call);
    if (!other || !(wanted.exclusive || other->exclusive)) continue;
    throw Error(
        ErrorKind::locked,
        lock_conflict_text(*other, LockId::parse(id).value_or(LockId()), call.clock().now()),
        "the `unlock` command can be used to remove stale locks");
  }
}

}  // namespace

std::string to_json(const LockInfo& lock) {
  std::string json =
      fmt::format(R"({{"time":"{}","exclusive":{},"hostname":{},"username":{},"pid":{})",
                  format_rfc3339_nano(lock.time), lock.exclusive, go_json_string(lock.hostname),
                  go_json_string(lock.username), lock.pid);
  if (lock.uid != 0) json += fmt::format(R"(,"uid":{})", lock.uid);
  if (lock.gid != 0) json += fmt::format(R"(,"gid":{})", lock.gid);
  return json + "}";
}

LockInfo parse_lock(std::string_view json, const std::string& where) {
  const Json object = parse_json(json, where);
  const auto time = parse_time(find_string(object, {"time"}).value_or(""));
  if (!time) throw Error(ErrorKind::corrupt, where + ": not a lock: no time");
  LockInfo lock;
  lock.time = *time;
  lock.exclusive = find_bool(object, {"exclusive"}).value_or(false);
  lock.hostname = find_string(object, {"hostname"}).value_or("");
  lock.username = find_string(object, {"username"}).value_or("");
  lock.pid = integer_of(object, "pid", std::numeric_limits<std::int64_t>::max(), where);
  constexpr std::int64_t kMaxId = std::numeric_limits<std::uint32_t>::max();
  lock.uid = static_cast<std::uint32_t>(integer_of(object, "uid", kMaxId, where));
  lock.gid = static_cast<std::uint32_t>(integer_of(object, "gid", kMaxId, where));
  return lock;
}

std::string lock_conflict_text(const LockInfo& lock, const LockId& id, WallTime now) {
  return fmt::format(
      "unable to create lock in backend: repository is already locked {}by PID {} on {} by {} "
      "(UID {}, GID {})\nlock was created at {} ({} ago)\nstorage ID {}",
      lock.exclusive ? "exclusively " : "", lock.pid, lock.hostname, lock.username, lock.uid,
      lock.gid, format_table_time(lock.time), go_duration(now - lock.time), id.short_hex());
}

bool is_stale(const SavedLock& lock, const std::string& hostname, WallTime now,
              const std::function<bool(std::int64_t pid)>& process_exists) {
  if (now - lock.fresh() > kLockStale) return true;
  return lock.info.hostname == hostname && !process_exists(lock.info.pid);
}

struct Lock::Impl {
  Impl(const UnpackedFiles& files_of_repository, const LockInfo& wanted, const Call& call);
  ~Impl();

  void write(const Call& call);
  void start();
  void release(const Call& call);
  void require_held(const Call& call);
  std::string current() const;

 private:
  FileName name_of(const std::string& id) const { return {FileKind::lock, id}; }

  std::chrono::milliseconds left() const;
  void stop();
  void keep_fresh();
  bool is_due(SteadyTime next) const;
  bool try_refresh();
  void refresh(const Call& call);
  void require_there(const std::string& id, const Call& call);
  void remove_all(const Call& call, const std::string& but = {});

  void lose(std::exception_ptr why) noexcept { scope.fail(std::move(why)); }

  const UnpackedFiles files_;
  const Clock& clock_;

 public:
  CallScope scope;

 private:
  CallScope background_;  // what the refresher does; ends when the lock is given back

  mutable std::mutex mutex_;
  // Guarded by mutex_:
  LockInfo info_;
  std::string current_;
  std::vector<std::string> written_;  // all of ours that may be in the store
  SteadyTime fresh_since_;
  bool released_ = false;

  std::jthread refresher_;  // last: it uses everything above
};

Lock::Impl::Impl(const UnpackedFiles& files_of_repository, const LockInfo& wanted, const Call& call)
    : files_(files_of_repository),
      clock_(call.clock()),
      scope(call),
      background_(Call(clock_)),
      info_(wanted),
      fresh_since_(clock_.steady()) {}

Lock::Impl::~Impl() {
  stop();
  try {
    remove_all(Call(clock_).within(kCleanUp));
  } catch (const std::exception& error) {
    log::warn("lock: could not be removed: {}; `unlock` removes it once it is stale", error.what());
  }
}

std::string Lock::Impl::current() const {
  const std::lock_guard guard(mutex_);
  return current_;
}

std::chrono::milliseconds Lock::Impl::left() const {
  const std::lock_guard guard(mutex_);
  const auto age = clock_.steady() - fresh_since_;
  return std::chrono::duration_cast<std::chrono::milliseconds>(kLockMustRefresh - age);
}

// Stores a lock file with the time of now, which becomes the current one.
void Lock::Impl::write(const Call& call) {
  const SteadyTime begun = clock_.steady();
  LockInfo info;
  {
    const std::lock_guard guard(mutex_);
    info_.time = clock_.now();
    info = info_;
  }
  const UnpackedFiles::Sealed file = files_.seal(FileKind::lock, to_json(info));
  {
    // Before it is stored: a save that fails may have arrived all the same.
    const std::lock_guard guard(mutex_);
    written_.push_back(file.name.id);
  }
  files_.save(file, call);
  const std::lock_guard guard(mutex_);
  current_ = file.name.id;
  fresh_since_ = begun;
}

void Lock::Impl::start() {
  refresher_ = std::jthread([this] { keep_fresh(); });
}

void Lock::Impl::stop() {
  background_.fail(std::make_exception_ptr(Error(ErrorKind::interrupted, "lock: was given back")));
  if (refresher_.joinable()) refresher_.join();
}

bool Lock::Impl::is_due(SteadyTime next) const {
  if (clock_.steady() >= next) return true;
  // Steady time stands still while a computer sleeps; a lock grows old all the same.
  const std::lock_guard guard(mutex_);
  return clock_.now() - info_.time >= kLockRefresh && clock_.steady() - fresh_since_ >= kWake;
}

void Lock::Impl::keep_fresh() {
  const std::stop_token stopped = background_.call().stop_token();
  SteadyTime next = clock_.steady() + kLockRefresh;
  for (;;) {
    clock_.wait_until(std::min<SteadyTime>(next, clock_.steady() + kWake), stopped);
    if (stopped.stop_requested() || scope.call().stop_token().stop_requested()) return;
    if (!is_due(next)) continue;
    next = clock_.steady() + (try_refresh() ? std::chrono::seconds(kLockRefresh) : kAfterFailure);
  }
}

bool Lock::Impl::try_refresh() {
  try {
    refresh(background_.call().within(std::max(left(), std::chrono::milliseconds(0))));
    return true;
  } catch (const Error& error) {
    if (background_.call().stopped()) return false;
    if (error.kind() == ErrorKind::locked) {
      lose(std::current_exception());
    } else if (left() <= std::chrono::milliseconds(0)) {
      lose(std::make_exception_ptr(
          Error(ErrorKind::unavailable,
                fmt::format("lock: could not be refreshed in time: {}", error.what()))));
    } else {
      log::warn("lock: {}; trying again", error.what());
    }
  } catch (...) {
    lose(std::current_exception());
  }
  return false;
}

void Lock::Impl::refresh(const Call& call) {
  const std::string old = current();
  require_there(old, call);
  write(call);
  require_there(old, call);
  remove_all(call, current());
}

void Lock::Impl::require_there(const std::string& id, const Call& call) {
  if (files_.store().size_of(name_of(id), call)) return;
  throw Error(ErrorKind::locked,
              fmt::format("{}: lock is gone: somebody removed it", name_of(id).path()),
              "make sure that nobody runs `unlock` while others work, then start again");
}

void Lock::Impl::require_held(const Call& call) {
  {
    const std::lock_guard guard(mutex_);
    if (released_) throw Error(ErrorKind::internal, "lock: was released already");
    if (current_.empty()) throw Error(ErrorKind::internal, "lock: none was taken");
  }
  scope.call().require_live();
  if (left() <= std::chrono::milliseconds(0)) {
    lose(std::make_exception_ptr(
        Error(ErrorKind::unavailable, "lock: could not be refreshed in time")));
    scope.call().require_live();
  }
  for (;;) {
    const std::string id = current();
    try {
      return require_there(id, call);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::locked) throw;
      if (id != current()) continue;  // refreshed in between
      lose(std::current_exception());
      throw;
    }
  }
}

void Lock::Impl::release(const Call& call) {
  stop();
  lose(std::make_exception_ptr(Error(ErrorKind::internal, "lock: was released already")));
  {
    const std::lock_guard guard(mutex_);
    released_ = true;
  }
  remove_all(call);
}

void Lock::Impl::remove_all(const Call& call, const std::string& but) {
  std::vector<std::string> ids;
  {
    const std::lock_guard guard(mutex_);
    ids = written_;
  }
  for (const std::string& id : ids) {
    if (id == but) continue;
    files_.store().remove(name_of(id), call);
    const std::lock_guard guard(mutex_);
    std::erase(written_, id);
  }
}

Lock::Lock(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Lock::Lock(Lock&&) noexcept = default;
Lock::~Lock() = default;

const Call& Lock::scope() const {
  return impl_->scope.call();
}

void Lock::require_held(const Call& call) {
  impl_->require_held(call);
}

void Lock::release(const Call& call) {
  impl_->release(call);
}

Lock Lock::none(const UnpackedFiles& files, const Call& call) {
  return Lock(std::make_unique<Impl>(files, LockInfo{}, call));
}

Lock Lock::take_once(const UnpackedFiles& files, const LockInfo& wanted, const Call& call) {
  require_no_conflict(files, wanted, {}, call);
  auto impl = std::make_unique<Impl>(files, wanted, call);  // removes its file if it cannot stay
  impl->write(call);
  call.sleep(kLookAgain);
  require_no_conflict(files, wanted, impl->current(), call);
  impl->start();
  return Lock(std::move(impl));
}

Lock Lock::take(const UnpackedFiles& files, const LockInfo& wanted, std::chrono::milliseconds retry,
                const Call& call) {
  const SteadyTime give_up = call.clock().steady() + retry;
  std::chrono::milliseconds pause = kFirstPause;
  for (;;) {
    try {
      return take_once(files, wanted, call);
    } catch (const Error& error) {
      const SteadyTime now = call.clock().steady();
      if (error.kind() != ErrorKind::locked || now >= give_up) throw;
      log::info("{}; waiting for it", error.what());
      pause = std::min(pause, std::chrono::ceil<std::chrono::milliseconds>(give_up - now));
    }
    call.sleep(pause);
    pause = std::min<std::chrono::milliseconds>(2 * pause, kLongestPause);
  }
}

}  // namespace kubedr::repo
