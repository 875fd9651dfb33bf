#include "workflow/names.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "base/time.h"
#include "crd/resources.h"
#include "workflow/open.h"
#include "workflow/snapshots.h"

namespace kubedr::workflow {
namespace {

constexpr std::size_t kShortId = 8;

using TakeName = std::function<void(const Name&)>;

class Names {
 public:
  Names(const Services& services, const Whose& whose, const TakeName& take, const Call& call)
      : s_(services), whose_(whose), take_(take), call_(call) {}

  void locations(const std::string& prefix) const {
    for (const crd::Location& location : s_.cluster.locations(call_).items) {
      take_({prefix + location.ref.name, s_.repository_url(location)});
    }
  }

  void policies(const std::string& prefix) const {
    for (const crd::Policy& policy : s_.cluster.policies(call_).items) {
      take_({prefix + policy.ref.name,
             fmt::format("{}, to {}", policy.schedule, policy.destination)});
    }
  }

  // `status` wants the kind only where both have one of that name.
  void resources() const {
    policies("");
    locations("");
    policies("policy/");
    locations("backuplocation/");
  }

  // The newest first; returns the ids that they name.
  std::set<std::string> records() const {
    std::vector<crd::Record> records = s_.cluster.records(call_).items;
    std::stable_sort(
        records.begin(), records.end(),
        [](const crd::Record& a, const crd::Record& b) { return a.created > b.created; });
    std::set<std::string> ids;
    for (const crd::Record& record : records) {
      if (!whose_.policy.empty() && record.policy != whose_.policy) continue;
      if (!whose_.location.empty() && record.location != whose_.location) continue;
      ids.insert(record.snapshot_id.substr(0, kShortId));
      take_({record.ref.name, record.created ? fmt::format("{} of {} UTC", record.policy,
                                                           format_table_time(*record.created))
                                             : record.policy});
    }
    return ids;
  }

  void snapshots() const {
    take_({"latest", "the newest one"});
    const std::set<std::string> recorded = records();
    ids(storage::FileKind::snapshot, [&](const std::string& id) {
      return recorded.count(id) == 0 ? "snapshot without a record" : "snapshot";
    });
  }

  void keys() const {
    ids(storage::FileKind::key, [](const std::string&) { return "key"; });
  }

 private:
  // A file's name is its id: a listing tells all of them.
  void ids(storage::FileKind kind,
           const std::function<std::string(const std::string&)>& about) const {
    const crd::Location location = location_for(s_, whose_.location, whose_.policy, call_);
    const OpenedStore opened = open_store(s_, location, call_);
    std::vector<std::string> found;
    opened.store->list(
        kind, [&](const storage::FileInfo& file) { found.push_back(file.id.substr(0, kShortId)); },
        call_);
    std::sort(found.begin(), found.end());
    for (const std::string& id : found) take_({id, about(id)});
  }

  const Services& s_;
  const Whose& whose_;
  const TakeName& take_;
  const Call& call_;
};

}  // namespace

void each_name(const Services& services, Nameable kind, const Whose& whose, const TakeName& take,
               const Call& call) {
  const Names names(services, whose, take, call);
  switch (kind) {
  case Nameable::location:
    return names.locations("");
  case Nameable::policy:
    return names.policies("");
  case Nameable::resource:
    return names.resources();
  case Nameable::record:
    names.records();
    return;
  case Nameable::snapshot:
    return names.snapshots();
  case Nameable::key:
    return names.keys();
  }
}

}  // namespace kubedr::workflow
