#ifndef KUBEDR_WORKFLOW_CERTIFICATES_H
#define KUBEDR_WORKFLOW_CERTIFICATES_H

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/call.h"
#include "repo/tree.h"
#include "repo/writer.h"
#include "workflow/tree_builder.h"

namespace kubedr::workflow {

// errors   not_found, denied; failed: not a folder
void require_certificates(const std::filesystem::path& folder);

struct SavedCertificates {
  repo::Node folder;
  std::uint64_t bytes = 0;
};

// Stores the certificates' folder, links followed: what they point to arrives as ordinary files and
// folders, as in operator mode. Every entry is stored, or the backup fails.
//
// errors   not_found, denied: the folder or something in it; failed: a link that leads nowhere or
//          in a circle, or an entry that is neither file nor folder. The text names the path.
SavedCertificates save_certificates(repo::Writer& writer, const std::filesystem::path& folder,
                                    TreeBuilder& trees, const repo::Cut& cut, const Call& call);

}  // namespace kubedr::workflow

#endif  // KUBEDR_WORKFLOW_CERTIFICATES_H
