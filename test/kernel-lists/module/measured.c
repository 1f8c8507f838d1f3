// SPDX-License-Identifier: GPL-2.0
/* A module that does nothing but be measured. */
#include <linux/module.h>

static int __init measured_init(void)
{
	return 0;
}

static void __exit measured_exit(void)
{
}

module_init(measured_init);
module_exit(measured_exit);
MODULE_DESCRIPTION("Nothing, to be measured");
MODULE_LICENSE("GPL");
