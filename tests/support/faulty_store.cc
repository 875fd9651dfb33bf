#include "support/faulty_store.h"

#include <algorithm>
#include <utility>

namespace kubedr::test {
namespace {

using storage::FileInfo;
using storage::FileKind;
using storage::FileName;

std::string name_of(Operation operation) {
  switch (operation) {
  case Operation::load:
    return "load";
  case Operation::load_range:
    return "load_range";
  case Operation::size_of:
    return "size_of";
  case Operation::list:
    return "list";
  case Operation::create:
    return "create";
  case Operation::save:
    return "save";
  case Operation::remove:
    return "remove";
  }
  return "?";
}

bool matches(const Fault& fault, Operation operation, std::optional<FileKind> kind) {
  if (fault.operation && *fault.operation != operation) return false;
  return !fault.kind || fault.kind == kind;
}

[[noreturn]] void fail(const Fault& fault, const std::string& what) {
  Error error(fault.error, "faulty store: " + what + ": told to fail");
  Error::Transport transport;
  transport.transient = fault.transient;
  transport.may_have_arrived = fault.when == Fault::When::after;
  throw error.with(transport);
}

}  // namespace

void FaultyStore::add(const Fault& fault) {
  const std::lock_guard lock(mutex_);
  faults_.push_back({fault});
}

void FaultyStore::before(Operation operation, FileKind kind, std::function<void()> act) {
  const std::lock_guard lock(mutex_);
  before_.push_back({operation, kind, std::move(act)});
}

void FaultyStore::list_late(int lists) {
  const std::lock_guard lock(mutex_);
  late_lists_ = lists;
}

void FaultyStore::set_delay(std::chrono::milliseconds delay) {
  const std::lock_guard lock(mutex_);
  delay_ = delay;
}

std::vector<std::string> FaultyStore::history() const {
  const std::lock_guard lock(mutex_);
  return history_;
}

int FaultyStore::calls() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(history_.size());
}

int FaultyStore::calls(Operation operation) const {
  const std::lock_guard lock(mutex_);
  return counts_[operation];
}

// Writes the call down; the fault it meets, if any. Every fault counts it, the first one fires.
std::optional<Fault> FaultyStore::begin(Operation operation, std::optional<FileKind> kind,
                                        const std::string& what) const {
  const std::lock_guard lock(mutex_);
  history_.push_back(what);
  ++counts_[operation];
  std::optional<Fault> met;
  for (Pending& pending : faults_) {
    if (!matches(pending.fault, operation, kind)) continue;
    const int since = ++pending.seen - pending.fault.call;
    if (since >= 0 && since < pending.fault.times && !met) met = pending.fault;
  }
  return met;
}

void FaultyStore::do_before(Operation operation, std::optional<FileKind> kind) const {
  std::function<void()> act;
  {
    const std::lock_guard lock(mutex_);
    const auto met = std::find_if(before_.begin(), before_.end(), [&](const Before& one) {
      return one.operation == operation && one.kind == kind;
    });
    if (met == before_.end()) return;
    act = std::move(met->act);
    before_.erase(met);
  }
  act();
}

template <class Do>
auto FaultyStore::perform(Operation operation, std::optional<FileKind> kind,
                          const std::string& what, const Call& call, const Do& act) const {
  const std::string text = what.empty() ? name_of(operation) : name_of(operation) + " " + what;
  const std::optional<Fault> fault = begin(operation, kind, text);
  std::chrono::milliseconds delay{0};
  {
    const std::lock_guard lock(mutex_);
    delay = delay_;
  }
  if (delay.count() > 0) call.sleep(delay);
  do_before(operation, kind);
  if (!fault) return act();
  if (fault->when == Fault::When::after) static_cast<void>(act());
  fail(*fault, text);
}

Bytes FaultyStore::load(const FileName& name, std::size_t limit, const Call& call) const {
  return perform(Operation::load, name.kind, name.path(), call,
                 [&] { return inner_.load(name, limit, call); });
}

Bytes FaultyStore::load_range(const FileName& name, const storage::Range& range,
                              const Call& call) const {
  return perform(Operation::load_range, name.kind, name.path(), call,
                 [&] { return inner_.load_range(name, range, call); });
}

std::optional<std::uint64_t> FaultyStore::size_of(const FileName& name, const Call& call) const {
  return perform(Operation::size_of, name.kind, name.path(), call,
                 [&] { return inner_.size_of(name, call); });
}

bool FaultyStore::still_hidden(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  const auto entry = hidden_.find(id);
  if (entry == hidden_.end()) return false;
  if (--entry->second == 0) hidden_.erase(entry);
  return true;
}

void FaultyStore::list(FileKind kind, const std::function<void(const FileInfo&)>& each,
                       const Call& call) const {
  const auto visible = [&](const FileInfo& file) {
    if (!still_hidden(file.id)) each(file);
  };
  perform(Operation::list, kind, storage::folder_of(kind), call,
          [&] { inner_.list(kind, visible, call); });
}

bool FaultyStore::create(const Call& call) {
  return perform(Operation::create, std::nullopt, "", call, [&] { return inner_.create(call); });
}

void FaultyStore::save(const FileName& name, ByteView bytes, const Digest& digest,
                       storage::SaveMode mode, const Call& call) {
  perform(Operation::save, name.kind, name.path(), call, [&] {
    inner_.save(name, bytes, digest, mode, call);
    const std::lock_guard lock(mutex_);
    if (late_lists_ > 0) hidden_[name.id] = late_lists_;
  });
}

void FaultyStore::remove(const FileName& name, const Call& call) {
  perform(Operation::remove, name.kind, name.path(), call, [&] { inner_.remove(name, call); });
}

}  // namespace kubedr::test
