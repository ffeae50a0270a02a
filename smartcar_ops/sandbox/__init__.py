"""A pretend Smartcar: both API versions, its users and cars, and the company that is its customer.

It imports nothing from the kit's other folders, so that a bug in the kit can't confirm itself. Importing this
package loads neither the server nor the database; import what you need from its modules.
"""
