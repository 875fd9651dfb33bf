#include "workflow/forget.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "workflow/identity.h"
#include "workflow/locks.h"
#include "workflow/notes.h"
#include "workflow/open.h"
#include "workflow/removal.h"

namespace kubedr::workflow {
namespace {

// Whatever order they were given in: restic's groups do not care.
std::string sorted(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  return join(names, ",");
}

// Of two clusters that share a repository, a policy of the same name is another one. What is
// nobody's is grouped as restic does.
std::string policy_name(const ListedSnapshot& listed) {
  const repo::Snapshot& snapshot = listed.saved.snapshot;
  if (listed.policy.empty()) {
    return "(none), host " + snapshot.hostname + ", paths " + sorted(snapshot.paths);
  }
  return owner_of(listed);
}

// "policy kubedr-system/nightly, host node-1".
std::string group_name(const ListedSnapshot& listed, const std::vector<std::string>& keys) {
  const repo::Snapshot& snapshot = listed.saved.snapshot;
  std::vector<std::string> parts;
  for (const std::string& key : keys) {
    if (key == "policy") parts.push_back("policy " + policy_name(listed));
    if (key == "host") parts.push_back("host " + snapshot.hostname);
    if (key == "paths") parts.push_back("paths " + sorted(snapshot.paths));
    if (key == "tags") parts.push_back("tags " + sorted(snapshot.tags));
  }
  return parts.empty() ? "all snapshots" : join(parts, ", ");
}

std::vector<std::string> group_keys(const std::string& group_by) {
  std::vector<std::string> keys;
  for (const std::string& key : split(group_by, ',')) {
    if (key.empty()) continue;
    const std::string one = key == "path" ? "paths" : key == "tag" ? "tags" : key;
    if (one != "policy" && one != "host" && one != "paths" && one != "tags") {
      throw Error(ErrorKind::usage, fmt::format("unknown grouping option: '{}'", key),
                  "group by policy, host, paths and tags, separated by commas");
    }
    keys.push_back(one);
  }
  return keys;
}

void require_request(const ForgetRequest& request) {
  if (!request.snapshots.empty() && !request.rules.empty()) {
    throw Error(ErrorKind::usage, "forget: snapshot ids and keep rules cannot be given together");
  }
  if (!request.snapshots.empty() && !request.filter.empty()) {
    throw Error(ErrorKind::usage,
                "forget: explicit snapshot ids are given, there is nothing to filter",
                "leave --host, --tag and --path out, or the ids");
  }
  if (!request.snapshots.empty() || !request.rules.empty()) return;
  if (!request.unsafe_allow_remove_all) {
    throw Error(ErrorKind::usage, "forget: no policy was specified, no snapshots will be removed",
                "name snapshots, or say what to keep, e.g. --keep-last 7");
  }
  if (request.policy.empty() && request.filter.empty()) {
    throw Error(ErrorKind::usage,
                "forget: --unsafe-allow-remove-all is not allowed unless a snapshot filter option "
                "is specified",
                "say which snapshots are to go with --policy, --host, --tag or --path");
  }
}

class Forgetting {
 public:
  Forgetting(const Services& services, const ForgetRequest& request, const Call& call)
      : s_(services), request_(request), call_(call) {}

  ForgetReport run(const std::function<bool(const ForgetPlan&)>& agree) {
    location_ = location_for(s_, request_.location, request_.policy, call_);
    OpenedRepository opened = open_repository(s_, location_, call_);
    repo::Lock lock = lock_exclusive(s_, opened.repository, call_);
    const Call held = lock.scope();
    // Under the lock: a backup that was waited for has a record that was not there before.
    records_ = s_.cluster.records(held).items;
    ForgetReport report;
    report.plan = plan(opened, held);
    if (report.plan.removed() != 0 && !request_.dry_run && agree(report.plan)) {
      remove(opened.repository, lock, report, held);
      // The next backup must not wonder where they went.
      clear_noted_snapshots(s_, call_);
      if (request_.prune && report.failed_steps.empty()) prune(opened, lock, report, held);
    }
    if (request_.dry_run && request_.prune) rehearse_prune(opened, lock, report, held);
    const Afterwards afterwards(call_);
    Steps steps;
    steps.attempt("unlock", "`kubectl kubedr unlock` removes it once it is stale",
                  [&] { lock.release(afterwards.call()); });
    report.failed_steps.insert(report.failed_steps.end(), steps.failed().begin(),
                               steps.failed().end());
    return report;
  }

 private:
  ForgetPlan plan(const OpenedRepository& opened, const Call& call) {
    ForgetPlan plan;
    plan.repository_url = opened.store->location();
    std::vector<std::string> damaged;
    const std::vector<repo::SavedSnapshot> all = opened.repository.snapshots(call, &damaged);
    for (const std::string& text : damaged) log::warn("{}", text);
    for (const repo::SavedSnapshot& saved : all) listed_.push_back(saved.id.hex());
    if (request_.snapshots.empty()) {
      plan.groups = by_rules(all);
      return plan;
    }
    ForgetGroup named;
    std::set<repo::SnapshotId> met;
    for (const std::string& wanted : request_.snapshots) {
      ListedSnapshot listed = choose_snapshot(all, damaged, records_, location_.ref.name,
                                              {wanted, {request_.location, request_.policy}, {}});
      if (met.insert(listed.saved.id).second) named.remove.push_back(std::move(listed));
    }
    plan.groups.push_back(std::move(named));
    return plan;
  }

  std::vector<ForgetGroup> by_rules(const std::vector<repo::SavedSnapshot>& all) const {
    SnapshotsRequest wanted;
    wanted.policy = request_.policy;
    wanted.filter = request_.filter;
    const std::vector<std::string> keys = group_keys(request_.group_by);
    std::map<std::string, std::vector<repo::SavedSnapshot>> grouped;
    std::map<repo::SnapshotId, ListedSnapshot> listed;
    for (ListedSnapshot& one : join_snapshots(all, records_, location_.ref.name, wanted)) {
      grouped[group_name(one, keys)].push_back(one.saved);
      listed.emplace(one.saved.id, std::move(one));
    }
    std::vector<ForgetGroup> groups;
    for (auto& [name, members] : grouped) {
      repo::KeepResult result = apply_rules(std::move(members));
      // A rule that keeps nothing is a slip, as restic sees it too.
      if (result.keep.empty() && !request_.rules.empty()) {
        throw Error(ErrorKind::usage,
                    fmt::format("forget: refusing to delete last snapshot of {}", name),
                    "keep at least one; --unsafe-allow-remove-all removes all that --policy, "
                    "--host, --tag or --path find, and takes no rules");
      }
      ForgetGroup group{name, std::move(result.keep), {}};
      for (const repo::SavedSnapshot& saved : result.remove) {
        group.remove.push_back(listed.at(saved.id));
      }
      groups.push_back(std::move(group));
    }
    return groups;
  }

  // Without rules everything goes: `require_request` has seen that this is meant.
  repo::KeepResult apply_rules(std::vector<repo::SavedSnapshot> members) const {
    if (!request_.rules.empty()) {
      return repo::apply_keep_rules(std::move(members), request_.rules, s_.clock.now());
    }
    std::reverse(members.begin(), members.end());
    return {{}, std::move(members)};
  }

  void remove(repo::Repository& repository, repo::Lock& lock, ForgetReport& report,
              const Call& call) const {
    Steps steps;
    for (const ForgetGroup& group : report.plan.groups) {
      for (const ListedSnapshot& victim : group.remove) {
        const std::size_t failed = steps.failed().size();
        const std::string id = victim.saved.id.hex();
        steps.attempt("forget " + id.substr(0, 8), "run the same command again", [&] {
          remove_with_records(s_, repository, lock, records_, location_, victim.saved, call);
        });
        if (steps.failed().size() == failed) report.removed.push_back(id);
        report.failed_steps = steps.failed();
        // Whatever ended the call or the lock ends the rest too, and is all there is to tell where
        // nothing went.
        if (!call.stopped()) continue;
        if (report.removed.empty()) call.require_live();
        return;
      }
    }
  }

  // What stays, for a prune that must see all of it.
  std::vector<std::string> left(const ForgetReport& report) const {
    std::vector<std::string> ids;
    for (const std::string& id : listed_) {
      const auto& removed = report.removed;
      if (std::find(removed.begin(), removed.end(), id) == removed.end()) ids.push_back(id);
    }
    return ids;
  }

  void rehearse_prune(const OpenedRepository& opened, const repo::Lock& lock, ForgetReport& report,
                      const Call& call) const {
    std::vector<repo::SnapshotId> forgotten;
    for (const ForgetGroup& group : report.plan.groups) {
      for (const ListedSnapshot& victim : group.remove) forgotten.push_back(victim.saved.id);
    }
    if (forgotten.empty()) return;
    report.pruned =
        repo::rehearse_prune(opened.repository, lock, request_.prune_options, forgotten, call);
  }

  void prune(const OpenedRepository& opened, repo::Lock& lock, ForgetReport& report,
             const Call& call) const {
    Steps steps;
    repo::PruneOptions options = request_.prune_options;
    options.known = left(report);
    options.may_be_empty = options.known.empty();
    steps.attempt("prune", "kubectl kubedr prune", [&] {
      report.pruned =
          prune_locked(
              s_, opened, lock, options, [](const repo::PruneFigures&) { return true; }, call)
              .figures;
    });
    report.failed_steps.insert(report.failed_steps.end(), steps.failed().begin(),
                               steps.failed().end());
  }

  const Services& s_;
  const ForgetRequest& request_;
  const Call& call_;
  crd::Location location_;
  std::vector<crd::Record> records_;
  std::vector<std::string> listed_;  // ids of all snapshots, of everybody
};

}  // namespace

std::size_t ForgetPlan::removed() const {
  std::size_t count = 0;
  for (const ForgetGroup& group : groups) count += group.remove.size();
  return count;
}

ForgetReport forget(const Services& services, const ForgetRequest& request,
                    const std::function<bool(const ForgetPlan&)>& agree, const Call& call) {
  require_request(request);
  return Forgetting(services, request, call).run(agree);
}

}  // namespace kubedr::workflow
