// Package deploy contains only tests. They check the files that people deploy Docket with, using the packages of the
// programs that read those files, since none of these programs has to be installed for that. It is a module of its own,
// so that the service does not depend on these packages.
package deploy
