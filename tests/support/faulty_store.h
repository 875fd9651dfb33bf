#ifndef KUBEDR_SUPPORT_FAULTY_STORE_H
#define KUBEDR_SUPPORT_FAULTY_STORE_H

#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "storage/store.h"

namespace kubedr::test {

enum class Operation { load, load_range, size_of, list, create, save, remove };

// What goes wrong, and when. Calls are counted from the moment the fault is added, and only those
// that match.
struct Fault {
  enum class When {
    before,  // nothing was done
    after,   // it was done, but the answer got lost
  };
  static constexpr int kForever = std::numeric_limits<int>::max();

  int call = 1;   // the first call that fails
  int times = 1;  // how many fail from there on
  When when = When::before;
  std::optional<Operation> operation;     // any, if not given
  std::optional<storage::FileKind> kind;  // any, if not given; create() has none
  ErrorKind error = ErrorKind::unavailable;
  bool transient = true;
};

// A store that fails, lists late or is slow on demand, and writes down what it was asked for.
//
// threads  synchronised
class FaultyStore final : public storage::Store {
 public:
  explicit FaultyStore(storage::Store& inner) : inner_(inner) {}

  void add(const Fault& fault);

  // Does that before the next such call is carried out, once.
  void before(Operation operation, storage::FileKind kind, std::function<void()> act);

  // A file saved from now on is missing in that many of the following lists of its kind.
  void list_late(int lists);

  // Each call first takes that long, by the clock of its Call.
  void set_delay(std::chrono::milliseconds delay);

  // "save data/3f/3fa2...", "list locks/", "create": in the order of their beginnings.
  std::vector<std::string> history() const;
  int calls() const;
  int calls(Operation operation) const;

  const std::string& location() const override { return inner_.location(); }

  Bytes load(const storage::FileName& name, std::size_t limit, const Call& call) const override;
  Bytes load_range(const storage::FileName& name, const storage::Range& range,
                   const Call& call) const override;
  std::optional<std::uint64_t> size_of(const storage::FileName& name,
                                       const Call& call) const override;
  void list(storage::FileKind kind, const std::function<void(const storage::FileInfo&)>& each,
            const Call& call) const override;
  bool create(const Call& call) override;
  void save(const storage::FileName& name, ByteView bytes, const Digest& digest,
            storage::SaveMode mode, const Call& call) override;
  void remove(const storage::FileName& name, const Call& call) override;

  int connections() const override { return inner_.connections(); }

 private:
  struct Pending {
    Fault fault;
    int seen = 0;
  };

  struct Before {
    Operation operation;
    storage::FileKind kind;
    std::function<void()> act;
  };

  template <class Do>
  auto perform(Operation operation, std::optional<storage::FileKind> kind, const std::string& what,
               const Call& call, const Do& act) const;
  void do_before(Operation operation, std::optional<storage::FileKind> kind) const;
  std::optional<Fault> begin(Operation operation, std::optional<storage::FileKind> kind,
                             const std::string& what) const;
  bool still_hidden(const std::string& id) const;

  storage::Store& inner_;
  mutable std::mutex mutex_;
  // Guarded by mutex_:
  mutable std::vector<Pending> faults_;
  mutable std::vector<Before> before_;
  mutable std::vector<std::string> history_;
  mutable std::map<Operation, int> counts_;
  mutable std::map<std::string, int> hidden_;  // id -> lists it is still missing in
  int late_lists_ = 0;
  std::chrono::milliseconds delay_{0};
};

}  // namespace kubedr::test

#endif  // KUBEDR_SUPPORT_FAULTY_STORE_H
