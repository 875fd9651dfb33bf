#ifndef KUBEDR_CMD_MANUAL_H
#define KUBEDR_CMD_MANUAL_H

#include <CLI/CLI.hpp>
#include <map>
#include <string>
#include <vector>

namespace kubedr::cmd {

// A manual page in mdoc.
struct ManualPage {
  std::string file;  // "kubectl-kubedr-backup.1"
  std::string text;
};

// A verb's commands and what they printed: "$ kubectl kubedr backup" and the lines below it.
using Sessions = std::map<std::string, std::string>;

// The overview and a page for each verb, made from the tree.
//
// source   mdoc(7); `mandoc -T lint` has nothing to say about them
std::vector<ManualPage> manual_pages(const CLI::App& root, const Sessions& sessions);

}  // namespace kubedr::cmd

#endif  // KUBEDR_CMD_MANUAL_H
